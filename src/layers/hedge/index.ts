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
   * How long a call may take before it gets a second try. `'p95'`: as long as 95 % of the last 100
   * answers took, of a stream to its first content, by model and form; none until 20 are known.
   * Milliseconds.
   * @default 'p95'
   */
  delayMs?: number | 'p95' | undefined
  /** The least that `'p95'` comes to. Milliseconds. @default 500 */
  minDelayMs?: number | undefined
  /** The most that `'p95'` comes to. Milliseconds. @default 10000 */
  maxDelayMs?: number | undefined
  /**
   * Where the second try goes: the first of these that can be asked for the request.
   * @default another member of the pool
   */
  to?: readonly Target[] | undefined
  /**
   * Limits the second tries of all calls together; `false` for no limit but that of `retry`.
   * @default { size: 10, start: 1, perSuccess: 0.05 }
   */
  budget?: HedgeBudgetOptions | false | undefined
  /** Key in `stats()`. @default 'hedge' */
  name?: Name | undefined
}

/** What `hedge()` has counted. */
export interface HedgeStats {
  /** Second tries that ran and are over. */
  readonly hedged: number
  /** Of them, those that answered first. */
  readonly won: number
  /** Of them, the others. */
  readonly lost: number
  /** Second tries that were not made: for want of budget or time, or as they would have waited. */
  readonly refused: number
}

/**
 * Asks a second time, elsewhere, when a call is slow; who commits first answers, and the other one
 * is aborted. Only requests with an identity, and only while there is room: the second try never
 * waits in a queue, goes through no circuit that is not closed, and draws on the budget of a
 * `retry()` further out beside its own.
 *
 * A failure that can be repeated is no answer while the other try runs; 400, 401, 402, 403 and 422
 * end both, unless the key is refused and the other try has another one.
 *
 * @throws ConfigError code `CONFIG`, when a model is named and the base cannot change the model of
 * a request
 * @example hedge({ to: ['mistral'] })
 * @see https://research.google/pubs/the-tail-at-scale/ hedged requests, and gRPC's A6 for the budget
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
      breaker: 'a second try says nothing about the circuit of the first; put hedge outside.',
      queue: 'both tries share one slot, and nobody sees who waits; put hedge outside.',
      pool: 'both tries share one connection; put hedge outside.',
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
