import {
  type JobFile,
  type JobFileTerms,
  type JobLine,
  type JobResult,
  type JobsState,
  type ListPart,
  type NewJobFile,
  type SharedFiles,
  wallTime,
} from '../../core/index.js'
import {
  type BatchHeader,
  freshBatch,
  type KeptBatch,
  partOf,
  type ResultsOf,
  resultsOf,
  type Shelf,
  type Shelves,
} from './shelf.js'

/** Batches and files in memory, which are lost when the process ends. */
export class MemoryShelves implements Shelves {
  readonly files = new MemoryFiles()

  async open(): Promise<readonly KeptBatch[]> {
    return []
  }

  async add(
    pages: AsyncIterable<readonly JobLine[]>,
    header: (total: number) => BatchHeader,
  ): Promise<KeptBatch> {
    const texts = new Map<string, string>()
    for await (const page of pages) for (const { key, text } of page) texts.set(key, text)
    return freshBatch(header(texts.size), new MemoryShelf(texts), texts.keys())
  }

  async sweep(): Promise<void> {
    this.files.sweep()
  }

  async release(): Promise<void> {}
}

class MemoryShelf implements Shelf {
  readonly #texts: Map<string, string>
  readonly #results: Record<ResultsOf, string[]> = { completed: [], failed: [] }

  constructor(texts: Map<string, string>) {
    this.#texts = texts
  }

  async text(key: string): Promise<string> {
    return this.#texts.get(key) as string
  }

  begin(): void {}

  putBack(): void {}

  async add(results: readonly { key: string; result: JobResult }[]): Promise<void> {
    for (const { key, result } of results) {
      this.#texts.delete(key)
      this.#results[resultsOf(result.kind)].push(result.text)
    }
  }

  async close(): Promise<void> {}

  async end(): Promise<void> {
    this.#texts.clear()
  }

  async results(of: ResultsOf, from: number, limit: number): Promise<readonly string[]> {
    return this.#results[of].slice(from, from + limit)
  }

  async drop(of: ResultsOf, _state: JobsState): Promise<void> {
    this.#results[of] = []
  }

  async remove(): Promise<void> {}

  async release(): Promise<void> {}
}

class MemoryFiles implements SharedFiles {
  readonly #files = new Map<string, { readonly file: JobFile; readonly pieces: string[] }>()

  async put(
    { id, owner }: NewJobFile,
    pieces: AsyncIterable<string>,
    terms: () => JobFileTerms,
  ): Promise<JobFile> {
    const kept: string[] = []
    let bytes = 0
    for await (const piece of pieces) {
      kept.push(piece)
      bytes += Buffer.byteLength(piece)
    }
    const createdAt = wallTime()
    const { about, keepMs } = terms()
    const file = { id, owner, about, bytes, createdAt, expiresAt: createdAt + keepMs }
    this.#files.set(id, { file, pieces: kept })
    return file
  }

  async get(id: string): Promise<JobFile | undefined> {
    return this.#find(id)?.file
  }

  async list(owner: string, part: ListPart): Promise<readonly JobFile[]> {
    this.sweep()
    const all = [...this.#files.values()].map(({ file }) => file)
    return partOf(all, owner, part)
  }

  async *read(id: string): AsyncGenerator<string, undefined, undefined> {
    yield* this.#find(id)?.pieces ?? []
    return undefined
  }

  async delete(id: string): Promise<boolean> {
    return this.#files.delete(id)
  }

  sweep(): void {
    for (const id of this.#files.keys()) this.#find(id)
  }

  /** A file that has not expired. */
  #find(id: string) {
    const kept = this.#files.get(id)
    if (kept === undefined || kept.file.expiresAt > wallTime()) return kept
    this.#files.delete(id)
    return undefined
  }
}
