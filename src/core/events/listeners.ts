import { runHook } from '../warn.js'
import type { EventListener } from './index.js'

/** The method of a stack or client that adds a listener to its events. */
export const LISTEN: unique symbol = Symbol.for('blossom-stack.listen') as never

/** The listeners to one stack's events: that of the base, and those added later. */
export class Listeners {
  /** Calls all listeners; undefined while there are none. */
  current: EventListener | undefined
  readonly #own: EventListener | undefined
  #added: readonly EventListener[] = []

  constructor(own: EventListener | undefined) {
    this.#own = own
    this.current = own
  }

  /** Adds a listener. Returns a function that removes it. */
  add(listener: EventListener): () => void {
    // A wrapper, because the same function may be added twice.
    const added: EventListener = (event) => listener(event)
    this.#set([...this.#added, added])
    return () => this.#set(this.#added.filter((one) => one !== added))
  }

  #set(added: readonly EventListener[]): void {
    this.#added = added
    const all = this.#own === undefined ? added : [this.#own, ...added]
    this.current = all.length > 1 ? (event) => notifyAll(all, event) : all[0]
  }
}

function notifyAll(listeners: readonly EventListener[], event: Parameters<EventListener>[0]): void {
  for (const listener of listeners) runHook('onEvent()', () => listener(event))
}
