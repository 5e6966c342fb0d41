import {
  atOnce,
  ConfigError,
  type Context,
  check,
  defineLayer,
  hookFailed,
  isSharedState,
  type Layer,
  rules,
  type SharedState,
} from '../../core/index.js'
import type { BreakerState } from './circuit.js'
import { Circuits } from './circuits.js'
import { type BreakerSnapshot, isSnapshot } from './snapshot.js'

export type { BreakerState } from './circuit.js'
export type { BreakerSnapshot, CircuitSnapshot } from './snapshot.js'

/** Options of `breaker()`. */
export interface BreakerOptions<Name extends string = 'breaker', Request = unknown> {
  /**
   * Opens the circuit when this share of the calls in the window has failed. Above 0, at most 1.
   * @default 0.5
   */
  failureRate?: number | undefined
  /**
   * Minimum number of finished calls in the window before the circuit can open. Calls that count
   * neither as success nor as failure are excluded.
   * @default 10
   */
  minimumCalls?: number | undefined
  /** Length of the window. Milliseconds, from 10 to 86400000 (a day). @default 10000 */
  windowMs?: number | undefined
  /**
   * How long the circuit stays open before trials start. Milliseconds, at most 86400000 (a day). A
   * function gets the number of openings in a row, starting with 1; if it throws, a warning is
   * emitted and the default applies.
   * @default 30000
   */
  resetMs?: number | ((openings: number) => number) | undefined
  /**
   * How many calls run as trials before the circuit closes or opens again. It closes when their
   * rates are below `failureRate` and `slowRate`, and opens otherwise, as soon as the outcome is
   * certain. 1 to 1000.
   * @default 1
   */
  trials?: number | undefined
  /**
   * Counts a call as slow when its answer, or the first token of its stream, takes longer.
   * Milliseconds.
   * @default none: no call is slow
   */
  slowMs?: number | undefined
  /**
   * Also opens the circuit when this share of the calls in the window was slow. Requires `slowMs`.
   * Above 0, at most 1.
   * @default 0.5
   */
  slowRate?: number | undefined
  /**
   * Uses a separate circuit for each value; the 1000 most recently used are kept. `'model'` takes
   * the value from the base's trait `model`; requests without a model share one circuit.
   * @default one circuit for all
   */
  key?: 'model' | ((request: Request, context: Context) => string) | undefined
  /**
   * Returns whether an error counts as a failure, replacing the default rule. Aborts by the caller
   * never count.
   */
  counts?: ((error: unknown) => boolean) | undefined
  /** Called when a circuit changes its state. An error it throws becomes a warning. */
  onStateChange?: ((state: BreakerState, key: string | undefined) => void) | undefined
  /**
   * The result of `exportState()`, from this process or another. Open circuits stay open for the
   * rest of their time.
   * @default all closed
   */
  initialState?: BreakerSnapshot | undefined
  /**
   * State from `redisShared()`. A circuit that opens in one process opens in all processes with a
   * breaker of the same `name`, and one process at a time runs trials. A closed circuit sends no
   * requests to Redis. If the shared state is unreachable, each process decides alone.
   * @default each process by itself
   */
  shared?: SharedState | undefined
  /** The layer's name and its key in `stats()`. @default 'breaker' */
  name?: Name | undefined
}

/** State and counters of `breaker()`. */
export interface BreakerStats {
  /** State of the circuit. With `key`, the worst state of all. */
  readonly state: BreakerState
  /** Answers that ended as complete. */
  readonly successes: number
  /** Failures that counted. */
  readonly failures: number
  /** Successes and failures that were slower than `slowMs`. */
  readonly slow: number
  /** Calls rejected. */
  readonly rejected: number
  /** How often a circuit opened. */
  readonly opened: number
  /** How often a circuit opened because it had opened in another process. */
  readonly heard: number
  /**
   * Gauge: circuits that are not closed or have calls in the window. Without `key`, at most one.
   */
  readonly circuits: { readonly open: number; readonly halfOpen: number; readonly total: number }
}

/** A breaker layer, with methods to control it manually and to export its state. */
export interface BreakerLayer<Name extends string = 'breaker', Request = unknown>
  extends Layer<Name, BreakerStats, Request> {
  /**
   * Opens the circuit of `key` until `reset()`. Without a key: all circuits, including new ones.
   * Their calls are rejected with `BREAKER_OPEN`, without `retryAfter`.
   * @throws ConfigError (`CONFIG`) when a key is given and the breaker has no option `key`
   */
  isolate(key?: string): void
  /**
   * Closes the circuit of `key`, or all circuits, and clears their windows.
   * @throws ConfigError (`CONFIG`) when a key is given and the breaker has no option `key`
   */
  reset(key?: string): void
  /**
   * The state of the circuit of `key`. Without a key, the worst state of all.
   * @throws ConfigError (`CONFIG`) when a key is given and the breaker has no option `key`
   */
  state(key?: string): BreakerState
  /** Exports the circuits that are not closed, for the option `initialState`. */
  exportState(): BreakerSnapshot
}

const LONGEST_MS = 24 * 3_600_000
const RESET_MS = 30_000
const SLOW_RATE = 0.5

const share = <Default>(fallback: Default) =>
  rules.custom<number, Default>(
    'a number above 0 and at most 1',
    fallback,
    (value) => typeof value === 'number' && value > 0 && value <= 1,
  )

const SNAPSHOT = rules.custom<BreakerSnapshot, undefined>(
  'the result of exportState()',
  undefined,
  isSnapshot,
)

const OUTSIDE = {
  queue: 'a call waits for a slot before an open breaker rejects it. Move breaker outside.',
  pool: 'a call waits for a connection before an open breaker rejects it. Move breaker outside.',
}

/**
 * Rejects calls for a while when too many have failed, then lets a few through as trials. A call is
 * judged at the end of its answer, so a stream that breaks half-way counts as a failure. Client
 * errors (4xx), aborts by the caller and rejections by this library do not count.
 *
 * @throws BreakerOpenError (`BREAKER_OPEN`, status 503), with `retryAfter`
 * @example breaker({ failureRate: 0.5, minimumCalls: 10, key: (request: { model: string }) => request.model })
 * @see https://resilience4j.readme.io/docs/circuitbreaker for the rate over a window with a minimum
 * of calls
 */
export function breaker<const Name extends string = 'breaker', Request = unknown>(
  options: BreakerOptions<Name, Request> = {},
): BreakerLayer<Name, Request> {
  const { resetMs, slowMs, slowRate, initialState, shared, ...checked } = check(
    'breaker',
    options,
    {
      failureRate: share(0.5),
      minimumCalls: rules.integer(10, { min: 1 }),
      windowMs: rules.duration(10_000, { min: 10, max: LONGEST_MS }),
      resetMs: rules.either(
        rules.duration(RESET_MS, { max: LONGEST_MS }),
        rules.callback<(openings: number) => number>(),
      ),
      trials: rules.integer(1, { min: 1, max: 1_000 }),
      slowMs: rules.duration(undefined),
      slowRate: share(undefined),
      key: rules.either(
        rules.oneOf(['model'], undefined),
        rules.callback<(request: Request, context: Context) => string>(),
      ),
      counts: rules.callback<(error: unknown) => boolean>(),
      onStateChange: rules.callback<NonNullable<BreakerOptions['onStateChange']>>(),
      initialState: SNAPSHOT,
      shared: rules.custom<SharedState, undefined>(
        'the result of redisShared()',
        undefined,
        isSharedState,
      ),
      name: rules.layerName<Name>('breaker'),
    },
  )
  if (slowRate !== undefined && slowMs === undefined)
    throw new ConfigError('breaker: option "slowRate" requires "slowMs".', { layer: 'breaker' })
  const circuits = new Circuits<Request>({
    ...checked,
    shared: shared?.circuits(checked.name),
    resetMs: typeof resetMs === 'function' ? resetTime(resetMs) : () => resetMs ?? RESET_MS,
    slowMs: slowMs ?? Number.POSITIVE_INFINITY,
    slowRate: slowMs === undefined ? Number.POSITIVE_INFINITY : (slowRate ?? SLOW_RATE),
  })
  if (initialState !== undefined) circuits.restore(initialState)
  const layer: Layer<Name, BreakerStats, Request> = defineLayer({
    name: checked.name,
    kind: 'breaker',
    shared,
    outside: OUTSIDE,
    wrap: (next) => (request, context) => circuits.run(next, request, context),
    stats: () => circuits.stats(),
    close: () => circuits.close(),
  })
  return Object.assign(layer, {
    isolate: (key?: string) => circuits.isolate(key),
    reset: (key?: string) => circuits.reset(key),
    state: (key?: string) => circuits.state(key),
    exportState: () => circuits.snapshot(),
  })
}

/** Wraps the user's function so that it always returns a duration within bounds. */
function resetTime(resetMs: (openings: number) => number): (openings: number) => number {
  return (openings) => {
    try {
      const ms = atOnce(resetMs(openings))
      if (typeof ms !== 'number' || Number.isNaN(ms))
        throw new TypeError('resetMs() must return a number of milliseconds.')
      return Math.min(LONGEST_MS, Math.max(1, ms))
    } catch (error) {
      hookFailed('breaker: resetMs()', error)
      return RESET_MS
    }
  }
}
