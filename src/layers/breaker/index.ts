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
  /** Opens when this share of the window's calls has failed. Above 0, at most 1. @default 0.5 */
  failureRate?: number | undefined
  /** Calls with a verdict that the window must hold before the rate counts. @default 10 */
  minimumCalls?: number | undefined
  /** Length of the window. Milliseconds. @default 10000 */
  windowMs?: number | undefined
  /**
   * Time from opening to the trials, or a function of how often it has opened in a row, the first
   * time 1. One that throws costs a warning, and the default holds. Milliseconds.
   * @default 30000
   */
  resetMs?: number | ((openings: number) => number) | undefined
  /**
   * Calls on trial when that time has passed: it closes when their rates are below `failureRate` and
   * `slowRate`, and opens otherwise, as soon as the calls still out cannot change that.
   * @default 1
   */
  trials?: number | undefined
  /**
   * A call is slow that takes longer to its answer, of a stream to its first token. Milliseconds.
   * @default none is
   */
  slowMs?: number | undefined
  /**
   * Opens as well when this share of the window's calls was slow. Above 0, at most 1. It needs
   * `slowMs`.
   * @default 0.5
   */
  slowRate?: number | undefined
  /**
   * One circuit for each value; the 1000 used last are kept. `'model'`: one for each model, as the
   * base reports it in its trait `model`; all requests of a base without it share one.
   * @default one for all
   */
  key?: 'model' | ((request: Request, context: Context) => string) | undefined
  /**
   * Decides instead of the default rule whether an error counts against upstream. The caller's
   * abort never does.
   */
  counts?: ((error: unknown) => boolean) | undefined
  /** Called at every change. What it throws is a warning and changes nothing. */
  onStateChange?: ((state: BreakerState, key: string | undefined) => void) | undefined
  /**
   * What `exportState()` has returned, in this process or another: circuits that were open stay so
   * until their time has passed. @default all are closed
   */
  initialState?: BreakerSnapshot | undefined
  /**
   * What `redisShared()` returns. A circuit that opens in one process opens in all that have a
   * breaker of the same `name`, and one process at a time runs its trials. Nothing is asked while a
   * circuit is closed; when others cannot be asked, each process decides alone.
   * @default each process by itself
   */
  shared?: SharedState | undefined
  /** Key in `stats()`. @default 'breaker' */
  name?: Name | undefined
}

/** What `breaker()` has counted, and its state. */
export interface BreakerStats {
  /** With `key`, the worst of all. */
  readonly state: BreakerState
  /** Answers that ended well. */
  readonly successes: number
  /** Failures that counted. */
  readonly failures: number
  /** Of both, those that took longer than `slowMs`. */
  readonly slow: number
  /** Calls refused. */
  readonly rejected: number
  /** How often it has opened. */
  readonly opened: number
  /** Of these, how often because it had in another process. */
  readonly heard: number
  /** The circuits that are not closed, or had calls in the window. Without `key` at most one. */
  readonly circuits: { readonly open: number; readonly halfOpen: number; readonly total: number }
}

/** A breaker can also be worked by hand, and its state can be carried to another process. */
export interface BreakerLayer<Name extends string = 'breaker', Request = unknown>
  extends Layer<Name, BreakerStats, Request> {
  /**
   * Opens the circuit of `key` until `reset()`; without a key all circuits, those to come as well.
   * Its calls are refused with `BREAKER_OPEN`, without a `retryAfter`.
   * @throws ConfigError for a key when the breaker has no option `key`
   */
  isolate(key?: string): void
  /**
   * Closes the circuit of `key`, or all of them, as if nothing had been counted.
   * @throws ConfigError for a key when the breaker has no option `key`
   */
  reset(key?: string): void
  /**
   * The state of the circuit of `key`; without a key the worst of all.
   * @throws ConfigError for a key when the breaker has no option `key`
   */
  state(key?: string): BreakerState
  /** What the option `initialState` takes: the circuits that are not closed. */
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
  'what exportState() has returned',
  undefined,
  isSnapshot,
)

const OUTSIDE = {
  queue: 'a call waits for a slot before it learns that the breaker is open; put breaker outside.',
  pool: 'a call waits for a connection before it learns that the breaker is open; put breaker outside.',
}

/**
 * Refuses calls for a while when too many have failed, then lets a few through on trial. The
 * verdict on a call falls at the end of its answer, so that a stream that breaks half-way counts.
 * Other 4xx, a caller's abort and our own refusals are no verdict at all.
 *
 * @throws BreakerOpenError code `BREAKER_OPEN`, status 503, with `retryAfter`
 * @example breaker({ failureRate: 0.5, minimumCalls: 10, key: (request: { model: string }) => request.model })
 * @see https://resilience4j.readme.io/docs/circuitbreaker the rate over a window with a minimum of
 * calls
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
        'what redisShared() returns',
        undefined,
        isSharedState,
      ),
      name: rules.layerName<Name>('breaker'),
    },
  )
  if (slowRate !== undefined && slowMs === undefined)
    throw new ConfigError('breaker: option "slowRate" needs "slowMs".', { layer: 'breaker' })
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

/** The user's function, as one that always gives a duration within bounds. */
function resetTime(resetMs: (openings: number) => number): (openings: number) => number {
  return (openings) => {
    try {
      const ms = atOnce(resetMs(openings))
      if (typeof ms !== 'number' || Number.isNaN(ms)) throw new TypeError('It is no duration.')
      return Math.min(LONGEST_MS, Math.max(1, ms))
    } catch (error) {
      hookFailed('breaker: resetMs()', error)
      return RESET_MS
    }
  }
}
