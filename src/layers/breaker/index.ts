import { type Context, check, defineLayer, type Layer, rules } from '../../core/index.js'
import type { BreakerState } from './circuit.js'
import { Circuits } from './circuits.js'

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
   * Decides instead of the default rule whether an error counts against upstream. The caller's
   * abort never does.
   */
  counts?: ((error: unknown) => boolean) | undefined
  /** Called at every change. What it throws is a warning and changes nothing. */
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
  const checked = check('breaker', options, {
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
  })
  const circuits = new Circuits<Request>(checked)
  return defineLayer({
    name: checked.name,
    kind: 'breaker',
    outside: {
      queue:
        'a call waits for a slot before it learns that the breaker is open; put breaker outside.',
      pool: 'a call waits for a connection before it learns that the breaker is open; put breaker outside.',
    },
    wrap: (next) => (request, context) => circuits.run(next, request, context),
    stats: () => circuits.stats(),
    close: () => circuits.close(),
  })
}
