import { ConfigError, check, type Rule, rules } from '../../../core/index.js'
import { AdaptiveLimit, type AdaptiveOptions } from './adaptive-limit.js'
import { FixedLimit, type Limit } from './limit.js'

export type { Limit } from './limit.js'
export { isOverload } from './overload.js'

/** How many calls may be in progress: a number, or bounds for an adaptive limit. */
export type Concurrency =
  | number
  | 'adaptive'
  | { readonly [Bound in keyof AdaptiveOptions]?: number | undefined }

/** The default maximum of adaptive concurrency. */
export const MOST_CONCURRENT = 200

const DEFAULTS: AdaptiveOptions = { min: 1, start: 4, max: MOST_CONCURRENT }

/** Validates the option's type. `limitOf()` checks the bounds. */
export const concurrencyRule = <F>(fallback: F): Rule<Concurrency | F> =>
  rules.custom<Concurrency, F>(
    'an integer of at least 1, "adaptive" or an object with min, start or max',
    fallback,
    (value) =>
      value === 'adaptive' ||
      (typeof value === 'object'
        ? isBounds(value)
        : Number.isSafeInteger(value) && Number(value) >= 1),
  )

const isBounds = (value: object | null): boolean =>
  value !== null && Object.keys(DEFAULTS).some((name) => Object.hasOwn(value, name))

/** @throws ConfigError (`CONFIG`) when the bounds are invalid */
export function limitOf(concurrency: Concurrency): Limit {
  if (typeof concurrency === 'number') return new FixedLimit(concurrency)
  const bounds = check('queue', concurrency === 'adaptive' ? {} : concurrency, {
    min: rules.integer(DEFAULTS.min, { min: 1, max: 100_000 }),
    start: rules.integer<number | undefined>(undefined, { min: 1, max: 100_000 }),
    max: rules.integer(DEFAULTS.max, { min: 1, max: 100_000 }),
  })
  const { min, max, start = Math.max(min, Math.min(DEFAULTS.start, max)) } = bounds
  if (min > start || start > max)
    throw new ConfigError('queue: option "concurrency" must have min ≤ start ≤ max.', {
      layer: 'queue',
    })
  return new AdaptiveLimit({ min, start, max })
}
