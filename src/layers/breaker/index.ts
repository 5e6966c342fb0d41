import { LRUCache } from 'lru-cache'
import {
  atOnce,
  BreakerOpenError,
  type Context,
  check,
  defineLayer,
  type ErrorCode,
  hookFailed,
  isStackError,
  type Layer,
  onEnd,
  rules,
  runHook,
  TimeoutError,
} from '../../core/index.js'
import { type BreakerState, Circuit } from './circuit.js'

export type { BreakerState } from './circuit.js'

/** Options of `breaker()`. */
export interface BreakerOptions<Name extends string = 'breaker', Request = unknown> {
  /** Opens when this share of the window's calls has failed. Above 0, at most 1. @default 0.5 */
  failureRate?: number | undefined
  /** Calls with a verdict that the window must hold before the rate counts. @default 10 */
  minimumCalls?: number | undefined
  /** Length of the window. Milliseconds. @default 10000 */
  windowMs?: number | undefined
  /** Time from opening to the trial call. Milliseconds. @default 30000 */
  resetMs?: number | undefined
  /**
   * One circuit for each value; the 1000 used last are kept. `'model'`: one for each model, as the
   * base reports it in its trait `model`; all requests of a base without it share one.
   * @default one for all
   */
  key?: 'model' | ((request: Request, context: Context) => string) | undefined
  /**
   * Decides instead of the default rule whether an error speaks against upstream. The caller's
   * abort never does.
   */
  counts?: ((error: unknown) => boolean) | undefined
  /** Told of every change. What it throws is a warning and changes nothing. */
  onStateChange?: ((state: BreakerState, key: string | undefined) => void) | undefined
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
  /** Calls refused. */
  readonly rejected: number
  /** How often it has opened. */
  readonly opened: number
  /** The circuits that are not closed, or had calls in the window. Without `key` at most one. */
  readonly circuits: { readonly open: number; readonly halfOpen: number; readonly total: number }
}

/** What says nothing about upstream's health: the caller's mistakes and limits. */
const NO_VERDICT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CONFIG',
  'VALIDATION',
  'AUTH',
  'PAYMENT',
  'FORBIDDEN',
  'NOT_FOUND',
  'RATE_LIMITED',
  'BAD_REQUEST',
  'TOO_LARGE',
  'CLOSED',
])

const KEYS_KEPT = 1_000

/**
 * Refuses calls for a while when too many have failed, then lets one trial call through. The
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
): Layer<Name, BreakerStats, Request> {
  const { failureRate, minimumCalls, windowMs, resetMs, key, counts, onStateChange, name } = check(
    'breaker',
    options,
    {
      failureRate: rules.custom<number, number>(
        'a number above 0 and at most 1',
        0.5,
        (value) => typeof value === 'number' && value > 0 && value <= 1,
      ),
      minimumCalls: rules.integer(10, { min: 1 }),
      windowMs: rules.duration(10_000, { min: 10, max: 24 * 3_600_000 }),
      resetMs: rules.duration(30_000, { max: 24 * 3_600_000 }),
      key: rules.either(
        rules.oneOf(['model'], undefined),
        rules.callback<(request: Request, context: Context) => string>(),
      ),
      counts: rules.callback<(error: unknown) => boolean>(),
      onStateChange: rules.callback<NonNullable<BreakerOptions['onStateChange']>>(),
      name: rules.layerName<Name>('breaker'),
    },
  )
  const stats = { successes: 0, failures: 0, rejected: 0, opened: 0 }

  const make = (of: string | undefined) =>
    new Circuit({
      failureRate,
      minimumCalls,
      windowMs,
      resetMs,
      onStateChange: (state, trace) => {
        if (state === 'open') stats.opened++
        trace?.breaker(name, state)
        if (onStateChange) runHook('breaker: onStateChange()', () => onStateChange(state, of))
      },
    })
  const circuits = new LRUCache<string, Circuit>({
    max: KEYS_KEPT,
    dispose: (circuit) => circuit.close(),
  })
  const only = key === undefined ? make(undefined) : undefined

  const circuitOf = (request: Request, context: Context): Circuit => {
    if (only !== undefined) return only
    const of =
      key === 'model'
        ? (context.base.model?.(request) ?? '')
        : String(atOnce(key?.(request, context)))
    let circuit = circuits.get(of)
    if (circuit === undefined) {
      circuit = make(of)
      circuits.set(of, circuit)
    }
    return circuit
  }

  const speaksAgainstUpstream = (error: unknown, context: Context): boolean => {
    // An abort from outside tells nothing, but for a time limit further out: there upstream was too
    // slow for it.
    if (context.cancel.aborted && !(context.cancel.reason instanceof TimeoutError)) return false
    if (counts !== undefined) {
      try {
        return atOnce(counts(error))
      } catch (thrown) {
        hookFailed('breaker: counts()', thrown)
      }
    }
    if (!isStackError(error)) return true
    if (error.refused || (error instanceof TimeoutError && error.phase === 'read')) return false
    return !NO_VERDICT.has(error.code)
  }

  return defineLayer({
    name,
    kind: 'breaker',
    outside: {
      queue:
        'a call waits for a slot before it learns that the breaker is open; put breaker outside.',
      pool: 'a call waits for a connection before it learns that the breaker is open; put breaker outside.',
    },
    wrap: (next) => async (request, context) => {
      const circuit = circuitOf(request, context)
      const permit = circuit.enter()
      if (typeof permit === 'number') {
        stats.rejected++
        throw new BreakerOpenError(permit, { layer: name })
      }
      const fail = (error: unknown) => {
        const counted = speaksAgainstUpstream(error, context)
        if (counted) stats.failures++
        circuit.settle(permit, counted ? 'failure' : undefined, context.trace)
      }
      try {
        return onEnd(await next(request, context), (end) => {
          if (end.outcome === 'failed') return fail(end.error)
          const complete = end.outcome === 'complete'
          if (complete) stats.successes++
          circuit.settle(permit, complete ? 'success' : undefined, context.trace)
        })
      } catch (error) {
        fail(error)
        throw error
      }
    },
    stats: () => {
      const counts = count(only === undefined ? circuits.values() : [only])
      const state = counts.open > 0 ? 'open' : counts.halfOpen > 0 ? 'half-open' : 'closed'
      return { state, ...stats, circuits: counts }
    },
    close: () => {
      only?.close()
      circuits.clear()
    },
  })
}

function count(circuits: Iterable<Circuit>): BreakerStats['circuits'] {
  let open = 0
  let halfOpen = 0
  let total = 0
  for (const circuit of circuits) {
    if (!circuit.isActive) continue
    total++
    if (circuit.state === 'open') open++
    else if (circuit.state === 'half-open') halfOpen++
  }
  return { open, halfOpen, total }
}
