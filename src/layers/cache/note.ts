import { digest } from '../../core/index.js'

/** The note of `cache()` in a call's `meta`, under the layer's name. */
export interface CacheNote {
  readonly status: 'hit' | 'miss' | 'stale'
  /** The entry's key, for `delete()`. */
  readonly key: string
  /**
   * Set when the shared state could not be reached, so that entries of other processes were not
   * read.
   */
  readonly alone?: true | undefined
}

/** A class, because a getter on an object literal would cost as much as the rest of a miss. */
export class Note implements CacheNote {
  readonly status: CacheNote['status']
  readonly alone?: true | undefined
  readonly #identity: string

  constructor(status: CacheNote['status'], identity: string, alone: boolean) {
    this.status = status
    this.#identity = identity
    if (alone) this.alone = true
  }

  get key(): string {
    return digest(this.#identity)
  }
}
