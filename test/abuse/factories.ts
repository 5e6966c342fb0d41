import { createBatches } from '../../src/batches/index.js'
import * as library from '../../src/index.js'
import {
  type ConfigError,
  createBlossom,
  base as tellOf,
  timeout as timeoutLayer,
} from '../../src/index.js'
import { instrument, prometheus } from '../../src/telemetry/index.js'
import { chaos } from '../../src/testing/index.js'

/** What is made with options that a caller without types could get wrong. */
// biome-ignore lint/suspicious/noExplicitAny: the tests of this folder pass what the types forbid
export type Anything = any

/** The names of what a call may be given. */
export const CALL_OPTIONS = [
  'signal',
  'timeoutMs',
  'deadline',
  'priority',
  'tenant',
  'cache',
  'meta',
] as const

/** The options with a `to`, where another one is tried. */
function withTarget(options: Anything): Anything {
  try {
    const isOther = options !== null && typeof options === 'object' && !('to' in options)
    return isOther && Object.keys(options).length === 1 ? { to: ['other'], ...options } : options
  } catch {
    // A proxy that throws.
    return options
  }
}

/** The options without a directory, which would be made. */
function withoutDirectory(options: Anything): Anything {
  try {
    const { directory, ...rest } = options ?? {}
    return typeof directory === 'string' && directory !== '' ? rest : options
  } catch {
    return options
  }
}

export const factories: Record<string, (options: Anything) => unknown> = {
  timeout: timeoutLayer,
  retry: library.retry,
  fallback: (options) => library.fallback(withTarget(options)),
  hedge: library.hedge,
  breaker: library.breaker,
  queue: library.queue,
  pool: library.pool,
  cache: library.cache,
  dedupe: library.dedupe,
  batcher: library.batcher,
  rateLimit: library.rateLimit,
  chaos,
  createBlossom,
  createBatches: (options) => createBatches(createBlossom(), withoutDirectory(options)),
  instrument: (options) =>
    instrument(
      library.stack(async () => 1),
      options,
    )(),
  prometheus: (options) =>
    prometheus(
      library.stack(async () => 1),
      options,
    ),
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
