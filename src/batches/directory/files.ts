import { randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type JobFile,
  type JobFileTerms,
  type ListPart,
  type NewJobFile,
  parseJson,
  type SharedFiles,
  wallTime,
} from '../../core/index.js'
import { partOf } from '../local/shelf.js'
import { folderOf, syncFolder, writeDurably } from './whole.js'

const ABOUT = 'file.json'
const CONTENT = 'content'

/** Files in a directory, one folder each. */
export class FolderFiles implements SharedFiles {
  readonly #folder: string
  readonly #unfinished: string
  readonly #files = new Map<string, JobFile>()

  constructor(folder: string, unfinished: string) {
    this.#folder = folder
    this.#unfinished = unfinished
  }

  /** Loads the stored files. */
  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(this.#folder)) {
      const text = await readFile(join(this.#folder, name, ABOUT), 'utf8').catch(() => undefined)
      if (text === undefined) continue
      const file = parseJson(text) as JobFile
      this.#files.set(file.id, file)
    }
  }

  async put(
    { id, owner }: NewJobFile,
    pieces: AsyncIterable<string>,
    terms: () => JobFileTerms,
  ): Promise<JobFile> {
    const unfinished = join(this.#unfinished, randomUUID())
    await mkdir(unfinished, { mode: 0o700 })
    let bytes = 0
    async function* counted() {
      for await (const piece of pieces) {
        bytes += Buffer.byteLength(piece)
        yield piece
      }
    }
    try {
      await writeDurably(join(unfinished, CONTENT), counted())
      const createdAt = wallTime()
      const { about, keepMs } = terms()
      const file = { id, owner, about, bytes, createdAt, expiresAt: createdAt + keepMs }
      await writeDurably(join(unfinished, ABOUT), [JSON.stringify(file)])
      await syncFolder(unfinished)
      await rename(unfinished, this.#folderOf(id))
      await syncFolder(this.#folder)
      this.#files.set(id, file)
      return file
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true })
      throw error
    }
  }

  async get(id: string): Promise<JobFile | undefined> {
    const file = this.#files.get(id)
    return file !== undefined && file.expiresAt > wallTime() ? file : undefined
  }

  async list(owner: string, part: ListPart): Promise<readonly JobFile[]> {
    await this.sweep()
    return partOf(this.#files.values(), owner, part)
  }

  async *read(id: string): AsyncGenerator<string, undefined, undefined> {
    if ((await this.get(id)) === undefined) return undefined
    yield* createReadStream(join(this.#folderOf(id), CONTENT), 'utf8') as AsyncIterable<string>
    return undefined
  }

  async delete(id: string): Promise<boolean> {
    if (!this.#files.delete(id)) return false
    await rm(this.#folderOf(id), { recursive: true, force: true })
    return true
  }

  /** Deletes expired files. */
  async sweep(): Promise<void> {
    for (const { id, expiresAt } of this.#files.values())
      if (expiresAt <= wallTime()) await this.delete(id)
  }

  #folderOf(id: string): string {
    return join(this.#folder, folderOf(id))
  }
}
