import type { BaseFacts } from './traits.js'
import { warn } from './warn.js'

/**
 * Bases whose answers can be read only once, such as a `Response` or an object with a stream in it.
 * Such an answer cannot be shared, so calls of these bases bypass the layers that would share it.
 */
export class OneShotBases {
  readonly #bases = new WeakSet<BaseFacts>()

  has(base: BaseFacts): boolean {
    return this.#bases.has(base)
  }

  add(base: BaseFacts): void {
    this.#bases.add(base)
    warn(
      `${base.name} returned an answer that can be read only once (such as a Response, or an object that contains a stream). Such answers cannot be cached or shared, so calls of this function now bypass cache and dedupe. Return the content instead.`,
    )
  }
}
