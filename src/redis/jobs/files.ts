import { randomUUID } from 'node:crypto'
import type { JobFile, JobFileTerms, ListPart, NewJobFile, SharedFiles } from '../../core/index.js'
import type { Connections } from './connections.js'
import type { JobKeys } from './keys.js'
import { ADD_PIECES, DELETE_FILE, GET, KEEP_FILE, LIST, RESULTS } from './scripts.js'

/** Number of pieces per read. */
const PART = 4

/** Files in Redis. Each has a hash for its fields and a list for its pieces. */
export class RedisFiles implements SharedFiles {
  readonly #connections: Connections
  readonly #keys: JobKeys

  constructor(connections: Connections, keys: JobKeys) {
    this.#connections = connections
    this.#keys = keys
  }

  async put(
    { id, owner }: NewJobFile,
    pieces: AsyncIterable<string>,
    terms: () => JobFileTerms,
  ): Promise<JobFile> {
    const upload = this.#keys.part('upload', randomUUID(), 'pieces')
    let bytes = 0
    for await (const piece of pieces) {
      bytes += Buffer.byteLength(piece)
      await this.#connections.run(ADD_PIECES, [upload], [piece])
    }
    const names = [this.#keys.file(id), this.#pieces(id), upload, this.#keys.list('files', owner)]
    const { about, keepMs } = terms()
    const of = [id, owner, about, bytes, keepMs]
    return readFile(await this.#connections.run<string[]>(KEEP_FILE, names, of)) as JobFile
  }

  async get(id: string): Promise<JobFile | undefined> {
    const [, fields] = await this.#connections.run<[string, string[]]>(GET, [this.#keys.file(id)])
    return readFile(fields)
  }

  async list(owner: string, part: ListPart): Promise<readonly JobFile[]> {
    const { files } = this.#keys
    const list = [this.#keys.list('files', owner)]
    const found = await this.#connections.run<string[][]>(LIST, list, partArgs(files, part))
    return found.map((fields) => readFile(fields) as JobFile)
  }

  async *read(id: string): AsyncGenerator<string, undefined, undefined> {
    const pieces = [this.#pieces(id)]
    for (let from = 0; ; from += PART) {
      const part = await this.#connections.run<string[]>(RESULTS, pieces, [from, from + PART - 1])
      yield* part
      if (part.length < PART) return undefined
    }
  }

  async delete(id: string): Promise<boolean> {
    const names = [this.#keys.file(id), this.#pieces(id)]
    return (await this.#connections.run<number>(DELETE_FILE, names)) > 0
  }

  #pieces(id: string): string {
    return this.#keys.part('file', id, 'pieces')
  }
}

/** The arguments of `LIST` for a page. */
export const partArgs = (prefix: string, { after, limit, reversed = false }: ListPart) => [
  prefix,
  limit,
  reversed ? 'reversed' : '',
  ...(after === undefined ? [] : [after.at, after.id]),
]

/** Converts a reply of `HGETALL` to an object. */
export function fieldsOf(fields: readonly string[]): Record<string, string> {
  const all: Record<string, string> = Object.create(null)
  for (let i = 0; i < fields.length; i += 2) all[fields[i] as string] = fields[i + 1] as string
  return all
}

function readFile(fields: readonly string[]): JobFile | undefined {
  if (fields.length === 0) return undefined
  const { id, owner, about, bytes, createdAt, expiresAt } = fieldsOf(fields)
  return {
    id: id as string,
    owner: owner as string,
    about: about as string,
    bytes: Number(bytes),
    createdAt: Number(createdAt),
    expiresAt: Number(expiresAt),
  }
}
