import { runHook } from '../warn.js'
import type { EventListener } from './index.js'

/** Where a stack, and the client, let others listen to their events. */
export const LISTEN: unique symbol = Symbol.for('blossom-stack.listen') as never

/** Who listens to the events of one stack: its base's own listener, and those who came later. */
export class Listeners {
  /** Calls all of them; undefined while there is none. */
  current: EventListener | undefined
  readonly #own: EventListener | undefined
  #added: readonly EventListener[] = []

  constructor(own: EventListener | undefined) {
    this.#own = own
    this.current = own
  }

  /** Adds a listener. Returns what takes it off again. */
  add(listener: EventListener): () => void {
    // One function may be added twice.
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
