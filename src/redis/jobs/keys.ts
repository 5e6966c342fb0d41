import { createHash } from 'node:crypto'
import { digest } from '../../core/index.js'

/**
 * The names of what batches have in Redis. All of them have one hash tag: in a cluster they are on
 * one server, as BullMQ's scripts and ours need several at once.
 */
export class JobKeys {
  /** Beginning of BullMQ's own keys. */
  readonly prefix: string
  readonly #beginning: string

  constructor(prefix: string, name: string) {
    this.prefix = `{${prefix}:jobs:${name}}`
    this.#beginning = `${this.prefix}:of:`
  }

  /** Batches that have not ended. */
  get open(): string {
    return `${this.#beginning}open`
  }

  /** Beginning of the keys of batches. */
  get batches(): string {
    return `${this.#beginning}batch:`
  }

  /** Beginning of the keys of files. */
  get files(): string {
    return `${this.#beginning}file:`
  }

  batch(id: string): string {
    return this.batches + id
  }

  file(id: string): string {
    return this.files + id
  }

  /** What belongs to a batch or a file, or to one that is being uploaded. */
  part(of: 'batch' | 'file' | 'upload', id: string, part: string): string {
    return `${this.#beginning}${part}:${of}:${id}`
  }

  /** The list of an owner. Their names are nobody's business there. */
  list(of: 'batches' | 'files', owner: string): string {
    return `${this.#beginning}${of}:${digest(owner)}`
  }
}

/** The id of the job that lines up a batch's lines. No line has it, as keys are never missing. */
export const prepareIdOf = (batch: string): string =>
  createHash('sha256')
    .update(JSON.stringify([batch]))
    .digest('hex')
