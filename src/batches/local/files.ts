import type { JobFile, JobFileTerms, ListPart, NewJobFile, SharedFiles } from '../../core/index.js'

/** Delays all operations until the storage has been opened. */
export class FilesOnceOpen implements SharedFiles {
  readonly #files: SharedFiles
  readonly #opened: Promise<void>

  constructor(files: SharedFiles, opened: Promise<void>) {
    this.#files = files
    this.#opened = opened
  }

  async put(
    file: NewJobFile,
    pieces: AsyncIterable<string>,
    terms: () => JobFileTerms,
  ): Promise<JobFile> {
    await this.#opened
    return this.#files.put(file, pieces, terms)
  }

  async get(id: string): Promise<JobFile | undefined> {
    await this.#opened
    return this.#files.get(id)
  }

  async list(owner: string, part: ListPart): Promise<readonly JobFile[]> {
    await this.#opened
    return this.#files.list(owner, part)
  }

  async *read(id: string): AsyncGenerator<string, undefined, undefined> {
    await this.#opened
    return yield* this.#files.read(id)
  }

  async delete(id: string): Promise<boolean> {
    await this.#opened
    return this.#files.delete(id)
  }
}
