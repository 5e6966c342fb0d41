import * as library from '../../src/index.js'
import {
  type ConfigError,
  createBlossom,
  base as tellOf,
  timeout as timeoutLayer,
} from '../../src/index.js'
import { chaos } from '../../src/testing/index.js'

/** What is made with options that a caller without types could get wrong. */
// biome-ignore lint/suspicious/noExplicitAny: the tests of this folder pass what the types forbid
export type Anything = any

export const factories: Record<string, (options: Anything) => unknown> = {
  timeout: timeoutLayer,
  retry: library.retry,
  breaker: library.breaker,
  queue: library.queue,
  pool: library.pool,
  cache: library.cache,
  dedupe: library.dedupe,
  batcher: library.batcher,
  chaos,
  createBlossom,
  base: (options) => tellOf(async () => 1, options),
}

/** The options that a factory knows, as its refusal of an unknown one lists them. */
export function optionsOf(name: string): string[] {
  try {
    factories[name]?.({ nonsense: true })
  } catch (error) {
    return (error as ConfigError).message.replace(/^.*expected one of |\.$/g, '').split(', ')
  }
  throw new Error(`${name} takes an option that nobody knows.`)
}
