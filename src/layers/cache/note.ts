import { digest } from '../../core/index.js'

/** What a call's `meta` holds under the layer's name. */
export interface CacheNote {
  readonly status: 'hit' | 'miss' | 'stale'
  /** The entry's key, for `delete`. */
  readonly key: string
}

/** A class, as a getter of an object's own takes as long as the rest of a miss. */
export class Note implements CacheNote {
  readonly status: CacheNote['status']
  readonly #identity: string

  constructor(status: CacheNote['status'], identity: string) {
    this.status = status
    this.#identity = identity
  }

  get key(): string {
    return digest(this.#identity)
  }
}
