import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type JobLine, parseJson } from '../../core/index.js'
import {
  type BatchHeader,
  freshBatch,
  type KeptBatch,
  resultsOf,
  type Shelves,
} from '../local/shelf.js'
import { FolderFiles } from './files.js'
import type { Place } from './journal.js'
import type { DirectoryLock } from './lock.js'
import { FolderShelf, HEADER, LINES, placesOf } from './shelf.js'
import { folderOf, syncFolder, writeDurably } from './whole.js'

/** Batches and files in a directory, one folder each. */
export class DirectoryShelves implements Shelves {
  readonly files: FolderFiles
  readonly #batches: string
  /** Folder for incomplete batches and files. */
  readonly #unfinished: string
  readonly #lock: DirectoryLock

  constructor(directory: string, lock: DirectoryLock) {
    this.#batches = join(directory, 'batches')
    this.#unfinished = join(directory, 'unfinished')
    this.#lock = lock
    this.files = new FolderFiles(join(directory, 'files'), this.#unfinished)
  }

  async open(): Promise<readonly KeptBatch[]> {
    await rm(this.#unfinished, { recursive: true, force: true })
    for (const folder of [this.#batches, this.#unfinished])
      await mkdir(folder, { recursive: true, mode: 0o700 })
    await this.files.open()
    const kept: KeptBatch[] = []
    for (const name of await readdir(this.#batches)) {
      const batch = await loadBatch(join(this.#batches, name))
      if (batch !== undefined) kept.push(batch)
    }
    return kept.sort((a, b) => a.header.createdAt - b.header.createdAt)
  }

  async add(
    pages: AsyncIterable<readonly JobLine[]>,
    header: (total: number) => BatchHeader,
  ): Promise<KeptBatch> {
    const unfinished = join(this.#unfinished, randomUUID())
    await mkdir(unfinished, { mode: 0o700 })
    try {
      const places = await writeLines(join(unfinished, LINES), pages)
      const made = header(places.size)
      await writeDurably(join(unfinished, HEADER), [JSON.stringify(made)])
      await syncFolder(unfinished)
      const folder = join(this.#batches, folderOf(made.id))
      // The rename accepts the batch atomically.
      await rename(unfinished, folder)
      await syncFolder(this.#batches)
      const shelf = new FolderShelf(folder, made, places)
      await shelf.load(() => {})
      return freshBatch(made, shelf, places.keys())
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true })
      throw error
    }
  }

  sweep(): Promise<void> {
    return this.files.sweep()
  }

  async release(): Promise<void> {
    this.#lock.release()
  }
}

async function writeLines(
  path: string,
  pages: AsyncIterable<readonly JobLine[]>,
): Promise<Map<string, Place>> {
  const places = new Map<string, Place>()
  let at = 0
  async function* pieces() {
    for await (const page of pages) {
      let piece = ''
      for (const { key, text } of page) {
        const line = JSON.stringify({ key, text })
        const bytes = Buffer.byteLength(line)
        places.set(key, { at, bytes })
        at += bytes + 1
        piece += `${line}\n`
      }
      yield piece
    }
  }
  await writeDurably(path, pieces())
  return places
}

/** Loads a batch in the state in which the process left it; `undefined` if the folder has none. */
async function loadBatch(folder: string): Promise<KeptBatch | undefined> {
  const text = await readFile(join(folder, HEADER), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const header = parseJson(text) as BatchHeader
  const places = header.ended === undefined ? await placesOf(folder) : new Map<string, Place>()
  const shelf = new FolderShelf(folder, header, places)
  const fresh = freshBatch(header, shelf, places.keys())
  return header.ended === undefined ? replay(fresh, shelf) : fresh
}

/** Applies the log of a batch. */
async function replay(fresh: KeptBatch, shelf: FolderShelf): Promise<KeptBatch> {
  const runs = new Map(fresh.runs)
  const tally = { completed: 0, failed: 0, unrun: 0, completedBytes: 0, failedBytes: 0 }
  let closing: KeptBatch['closing']
  const count = (key: string, more: number) => {
    const before = runs.get(key)
    if (before !== undefined) runs.set(key, before + more)
  }
  await shelf.load((entry) => {
    if ('begin' in entry) count(entry.begin, 1)
    else if ('back' in entry) count(entry.back, -1)
    else if ('close' in entry) closing = { as: entry.close, at: entry.at }
    else {
      runs.delete(entry.key)
      tally[entry.kind]++
      tally[`${resultsOf(entry.kind)}Bytes`] += entry.bytes
    }
  })
  return { ...fresh, ...tally, runs, closing }
}
