import {
  ConfigError,
  check,
  Destination,
  defineLayer,
  type Layer,
  rules,
  type Target,
} from '../../core/index.js'
import { HedgeBudget, type HedgeBudgetOptions } from './budget.js'
import { Hedges } from './hedges.js'
import { runHedged } from './race.js'

/** Options of `hedge()`. */
export interface HedgeOptions<Name extends string = 'hedge'> {
  /**
   * Starts the second try when a call has no answer after this time. `'p95'` uses the 95th
   * percentile of the last 100 answers, by model and by form (streams are measured to their first
   * content). With fewer than 20 known answers there is no second try. Milliseconds.
   * @default 'p95'
   */
  delayMs?: number | 'p95' | undefined
  /** Minimum for `'p95'`. Milliseconds. @default 500 */
  minDelayMs?: number | undefined
  /** Maximum for `'p95'`. Milliseconds. @default 10000 */
  maxDelayMs?: number | undefined
  /**
   * Targets for the second try. The first one that can serve the request is used.
   * @default another member of the pool
   */
  to?: readonly Target[] | undefined
  /**
   * Limits the second tries of all calls together. `false` leaves only the limit of an outer
   * `retry()`.
   * @default { size: 10, start: 1, perSuccess: 0.05 }
   */
  budget?: HedgeBudgetOptions | false | undefined
  /** The layer's name and its key in `stats()`. @default 'hedge' */
  name?: Name | undefined
}

/** Counters of `hedge()`. */
export interface HedgeStats {
  /** Second tries that ran and have ended. */
  readonly hedged: number
  /** Second tries that answered first. */
  readonly won: number
  /** Second tries that did not answer first. */
  readonly lost: number
  /** Second tries that did not run: no budget or time was left, or they would have had to wait. */
  readonly refused: number
}

/**
 * Sends a slow call a second time, to another target. The first answer to start wins, and the other
 * try is aborted. Applies only to requests with a key, and only while there is capacity: a second
 * try never waits in a queue, never passes an open or half-open circuit, and also takes from the
 * budget of an outer `retry()`.
 *
 * While one try is running, a retryable failure of the other is ignored. 400, 401, 402, 403 and 422
 * end both tries, unless the API key was rejected and the other try uses another one.
 *
 * @throws ConfigError (`CONFIG`) when a model is named and the base cannot change the model of a
 * request
 * @example hedge({ to: ['mistral'] })
 * @see https://research.google/pubs/the-tail-at-scale/ for hedged requests, and gRPC's A6 for the
 * budget
 */
export function hedge<const Name extends string = 'hedge'>(
  options: HedgeOptions<Name> = {},
): Layer<Name, HedgeStats> {
  const { to, budget, ...checked } = check('hedge', options, {
    delayMs: rules.either<'p95', number | 'p95'>(
      rules.oneOf(['p95'], 'p95'),
      rules.duration('p95'),
    ),
    minDelayMs: rules.duration(500),
    maxDelayMs: rules.duration(10_000),
    to: rules.custom<readonly Target[], readonly Target[]>(
      'a list of at least one target',
      [],
      (value) => Array.isArray(value) && value.length > 0,
    ),
    budget: rules.custom<HedgeBudgetOptions | false, undefined>(
      'false or an object',
      undefined,
      (value) => value === false || (typeof value === 'object' && value !== null),
    ),
    name: rules.layerName<Name>('hedge'),
  })
  if (checked.minDelayMs > checked.maxDelayMs)
    throw new ConfigError('hedge: option "minDelayMs" must be at most "maxDelayMs".', {
      layer: 'hedge',
    })
  const targets = Array.from(to, (target, i) =>
    Destination.read('hedge', `hedge: target ${i + 1}`, target),
  )
  const bucket = budget === false ? undefined : new HedgeBudget(checkBudget(budget))
  const hedges = new Hedges({ ...checked, to: targets, budget: bucket })
  return defineLayer({
    name: checked.name,
    kind: 'hedge',
    outside: {
      breaker: 'both tries count as one call for the breaker. Move hedge outside.',
      queue: 'both tries share one slot. Move hedge outside.',
      pool: 'both tries share one connection. Move hedge outside.',
    },
    checkBase: (base) => {
      for (const target of targets) target.checkBase(checked.name, base)
    },
    wrap: (next) => (request, context) => runHedged(hedges, next, request, context),
    stats: () => ({ ...hedges.stats }),
  })
}

const checkBudget = (options: HedgeBudgetOptions | undefined) =>
  check('hedge', options, {
    size: rules.number(10, { min: 1 }),
    start: rules.number(1, { min: 0 }),
    perSuccess: rules.number(0.05, { min: 0 }),
  })
