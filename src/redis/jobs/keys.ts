import { createHash } from 'node:crypto'
import { digest } from '../../core/index.js'

/**
 * The names of the keys of batches. All have the same hash tag, so that in a cluster they are on
 * one server: the scripts of BullMQ and of this library need several keys at once.
 */
export class JobKeys {
  /** Prefix of BullMQ's own keys. */
  readonly prefix: string
  readonly #beginning: string

  constructor(prefix: string, name: string) {
    this.prefix = `{${prefix}:jobs:${name}}`
    this.#beginning = `${this.prefix}:of:`
  }

  /** The list of batches that have not ended. */
  get open(): string {
    return `${this.#beginning}open`
  }

  /** Prefix of the keys of batches. */
  get batches(): string {
    return `${this.#beginning}batch:`
  }

  /** Prefix of the keys of files. */
  get files(): string {
    return `${this.#beginning}file:`
  }

  batch(id: string): string {
    return this.batches + id
  }

  file(id: string): string {
    return this.files + id
  }

  /** The key for a part of a batch, of a file, or of an upload. */
  part(of: 'batch' | 'file' | 'upload', id: string, part: string): string {
    return `${this.#beginning}${part}:${of}:${id}`
  }

  /** The list of an owner. The key contains a digest, not the owner's name. */
  list(of: 'batches' | 'files', owner: string): string {
    return `${this.#beginning}${of}:${digest(owner)}`
  }
}

/**
 * The id of the job that enqueues a batch's lines. Ids of lines differ, because they have a key.
 */
export const prepareIdOf = (batch: string): string =>
  createHash('sha256')
    .update(JSON.stringify([batch]))
    .digest('hex')
