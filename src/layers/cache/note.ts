import { digest } from '../../core/index.js'

/** What a call's `meta` holds under the layer's name. */
export interface CacheNote {
  readonly status: 'hit' | 'miss' | 'stale'
  /** The entry's key, for `delete`. */
  readonly key: string
  /** The other processes could not be asked: nothing that they have stored was looked at. */
  readonly alone?: true | undefined
}

/** A class, as a getter of an object's own takes as long as the rest of a miss. */
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
