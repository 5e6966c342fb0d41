import { ConfigError } from './errors.js'

/** The rule for one option: the expected value in words, the check, and the default. */
export interface Rule<T> {
  readonly expected: string
  readonly fallback: T
  readonly required?: boolean
  /** Whether error messages must hide the value. */
  readonly secret?: boolean
  /** Describes a value that is not accepted. @default as it is, or by its type */
  show?(value: unknown): string
  accepts(value: unknown): boolean
}

type Rules<T> = { readonly [K in keyof T]: Rule<T[K]> }

/** Describes a value in an error message: simple ones as they are, others by their type. */
export const show = (value: unknown): string => {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (
    typeof value === 'number' ||
    typeof value === 'boolean' ||
    typeof value === 'bigint' ||
    value == null
  )
    return String(value)
  return isArray(value)
    ? 'an array'
    : typeof value === 'function'
      ? 'a function'
      : typeof value === 'symbol'
        ? 'a symbol'
        : 'an object'
}

// A value from outside may be a proxy, and reading any part of a proxy may throw.

function isArray(value: unknown): value is unknown[] {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

function namesOf(options: object): string[] | undefined {
  try {
    return Object.keys(options)
  } catch {
    return undefined
  }
}

function isAccepted(value: unknown, rule: Rule<unknown>): boolean {
  try {
    return rule.accepts(value)
  } catch {
    return false
  }
}

/** Whether these are the rules of a layer, whose default name is its factory's. */
const isLayer = (subject: string, { name }: { readonly name?: Rule<unknown> }): boolean =>
  name?.fallback === subject

/**
 * Checks `options` against `rules` and returns the values with defaults filled in. `undefined`
 * counts as absent. An unknown name is an error, so that no option is silently ignored.
 *
 * @param subject start of the error message: the name of a layer or method
 * @param also names checked elsewhere, listed in the message with the others
 * @throws ConfigError (`CONFIG`), or the error that `fail` returns. Its message names the subject,
 * the option, the expected value and the given value.
 */
export function check<T extends object>(
  subject: string,
  options: unknown,
  rules: Rules<T>,
  fail: (sentence: string) => Error = (sentence) => new ConfigError(sentence, { layer: subject }),
  also: readonly string[] = [],
): T {
  if (options === undefined) options = {}
  if (typeof options !== 'object' || options === null || isArray(options)) {
    // A string here is most often an API key, which must not be shown.
    const got = typeof options === 'string' ? 'a string' : show(options)
    const hint =
      typeof options === 'function' && isLayer(subject, rules)
        ? ` To pass the layer itself, call it: ${subject}().`
        : ''
    throw fail(`${subject}: options must be an object, got ${got}.${hint}`)
  }
  const names = namesOf(options)
  if (names === undefined)
    throw fail(`${subject}: options must be a plain object; reading its keys threw an error.`)
  for (const key of names) {
    if (!Object.hasOwn(rules, key)) {
      throw fail(
        `${subject}: option ${JSON.stringify(key.slice(0, 40))} is unknown; expected one of ${[...Object.keys(rules), ...also].join(', ')}.`,
      )
    }
  }
  const checked = {} as T
  for (const key of Object.keys(rules) as (keyof T & string)[]) {
    const rule = rules[key]
    let value: unknown
    try {
      value = (options as T)[key]
    } catch {
      throw fail(
        `${subject}: option ${JSON.stringify(key)} must be ${rule.expected}; reading it threw an error.`,
      )
    }
    if (value === undefined && !rule.required) {
      checked[key] = rule.fallback
    } else if (isAccepted(value, rule)) {
      checked[key] = value as T[typeof key]
    } else {
      throw fail(
        `${subject}: option ${JSON.stringify(key)} must be ${rule.expected}, got ${rule.secret ? 'an invalid value' : (rule.show ?? show)(value)}.`,
      )
    }
  }
  return checked
}

interface Range {
  min?: number
  max?: number
}

const within = (
  value: unknown,
  { min = -Infinity, max = Number.MAX_SAFE_INTEGER }: Range,
): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max

const words = (what: string, { min, max }: Range): string =>
  `${what}${min === undefined ? '' : ` of at least ${min}`}${max === undefined ? '' : `${min === undefined ? '' : ' and'} at most ${max}`}`

/** Ten years in milliseconds. A longer duration is a mistake, most often a timestamp. */
const LONGEST_MS = 10 * 365 * 24 * 3_600_000

function rule<T, F>(
  expected: string,
  fallback: F,
  accepts: (value: unknown) => boolean,
): Rule<T | F> {
  return { expected, fallback, accepts }
}

export const integer = <F>(fallback: F, range: Range): Rule<number | F> =>
  rule(
    words('an integer', range),
    fallback,
    (value) => within(value, range) && Number.isInteger(value),
  )

/** Any finite number. */
export const number = <F>(fallback: F, range: Range = {}): Rule<number | F> =>
  rule(words('a number', range), fallback, (value) => within(value, range))

/** A duration in milliseconds. By default at least 1 and at most ten years. */
export const duration = <F>(
  fallback: F,
  { min = 1, max = LONGEST_MS }: Range = {},
): Rule<number | F> =>
  rule(words('a duration in milliseconds', { min, max }), fallback, (value) =>
    within(value, { min, max }),
  )

export const flag = <F>(fallback: F): Rule<boolean | F> =>
  rule('true or false', fallback, (value) => typeof value === 'boolean')

// biome-ignore lint/complexity/noBannedTypes: what the function takes is stated by the option's own type
export const callback = <T extends Function>(): Rule<T | undefined> =>
  rule<T, undefined>('a function', undefined, (value) => typeof value === 'function')

/** One of a list of strings. */
export const oneOf = <const T extends string, F>(values: readonly T[], fallback: F): Rule<T | F> =>
  rule(`one of ${values.map((value) => JSON.stringify(value)).join(', ')}`, fallback, (value) =>
    values.includes(value as T),
  )

/** A non-empty string. */
export const text = <F>(fallback: F): Rule<string | F> =>
  rule('a non-empty string', fallback, (value) => typeof value === 'string' && value !== '')

/** Any value that `accepts` returns true for. */
export const custom = <T, F>(
  expected: string,
  fallback: F,
  accepts: (value: unknown) => boolean,
): Rule<T | F> => rule(expected, fallback, accepts)

/** Any value. The code that reads it checks it. */
export const anything = <T>(fallback?: T): Rule<T | undefined> =>
  rule<T | undefined, T | undefined>('anything', fallback, () => true)

/** A value that either rule accepts. */
export const either = <A, B>(one: Rule<A>, other: Rule<B>): Rule<A | B> =>
  rule<A | B, A | B>(
    `${one.expected} or ${other.expected}`,
    one.fallback,
    (value) => one.accepts(value) || other.accepts(value),
  )

/** A list of strings that `accepts` returns true for. The error names the first wrong entry. */
export const list = (
  expected: string,
  accepts: (value: string) => boolean,
): Rule<readonly string[] | undefined> => {
  const isWrong = (entry: unknown) => typeof entry !== 'string' || !accepts(entry)
  return {
    ...rule(expected, undefined, (value) => Array.isArray(value) && !value.some(isWrong)),
    show(value) {
      try {
        return isArray(value) ? `an array that contains ${show(value.find(isWrong))}` : show(value)
      } catch {
        return 'an array'
      }
    },
  }
}

/** Makes an option required. */
export const required = <T>(of: Rule<T | undefined>): Rule<T> =>
  ({ ...of, required: true }) as Rule<T>

/** A layer's name, which is its key in `stats()`. */
export const layerName = <Name extends string>(fallback: string): Rule<Name> =>
  rule(
    'a name of at most 64 letters, digits, "-" and "_" that starts with a letter',
    fallback,
    (value) => typeof value === 'string' && /^[A-Za-z][\w-]{0,63}$/.test(value),
  ) as Rule<Name>
