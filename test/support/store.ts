import { base, type Context } from '../../src/core/index.js'
import type { CacheStore } from '../../src/layers/cache/index.js'

/** A store that counts, and does with each operation what it is told. */
export class OddStore implements CacheStore {
  readonly kept = new Map<string, unknown>()
  gets = 0
  sets = 0
  clears = 0
  onGet: (key: string) => unknown = (key) => this.kept.get(key)
  onSet: (key: string, value: unknown) => unknown = (key, value) => void this.kept.set(key, value)
  onDelete: (key: string) => unknown = (key) => this.kept.delete(key)
  onClear: () => unknown = () => this.kept.clear()
  get(key: string) {
    this.gets++
    return this.onGet(key)
  }
  set(key: string, value: unknown) {
    this.sets++
    return this.onSet(key, value)
  }
  delete(key: string) {
    return this.onDelete(key)
  }
  clear() {
    this.clears++
    return this.onClear()
  }
}

/** What a store does that is down. */
export const fail = () => {
  throw new Error('the store is down')
}

/** A base with a name, by which a store outside the process knows it. */
export const named = <Fn extends (request: never, context: Context) => unknown>(fn: Fn): Fn =>
  base(fn, { name: 'asked' } as never)
