import { rules } from '../../core/index.js'
import { Refusal } from './errors.js'

/** A JSON object with unknown fields. @internal */
export type Fields = Readonly<Record<string, unknown>>

export const isText = (value: unknown): value is string => typeof value === 'string'
export const isName = (value: unknown): value is string => typeof value === 'string' && value !== ''
export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const NAME = rules.text(undefined)
export const TEXT = rules.custom<string, undefined>('a string', undefined, isText)
export const TEXTS = rules.custom<readonly string[], undefined>(
  'a list of strings',
  undefined,
  (value) => Array.isArray(value) && value.every(isText),
)
export const LIST = rules.custom<readonly unknown[], undefined>('a list', undefined, Array.isArray)
export const OBJECT = rules.custom<Fields, undefined>('an object', undefined, isObject)
export const FLAG = rules.flag(undefined)
export const INTEGER = rules.integer(undefined, {})
export const COUNT = rules.integer(undefined, { min: 1 })

/**
 * Reads one field of a request. `null` counts as absent. Rejects an invalid value with a 400 that
 * names the field. @internal
 */
export function field<T>(
  fields: Fields,
  name: string,
  rule: rules.Rule<T | undefined>,
): T | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (!rule.accepts(value)) throw bad(name, `must be ${rule.expected}`)
  return value as T
}

/** The rejection of an invalid field. @internal */
export function bad(name: string, problem: string): Refusal {
  return new Refusal(400, `\`${name}\` ${problem}.`, { details: { field: name } })
}

/**
 * Converts a query value to a number, so that the same rules apply to bodies and queries. Anything
 * else stays a string, which the rule then rejects. @internal
 */
export function numeric(value: string | null): unknown {
  return value === null || value.trim() === '' || Number.isNaN(Number(value))
    ? (value ?? undefined)
    : Number(value)
}
