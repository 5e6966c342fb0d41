import { Refusal } from './errors.js'

/** A JSON object of which nothing is known yet. @internal */
export type Fields = Readonly<Record<string, unknown>>

/**
 * Reads one field of a request; null counts as absent, a wrong kind is refused with 400 that names
 * the field. @internal
 */
export function field<T>(
  fields: Fields,
  name: string,
  expected: string,
  fits: (value: unknown) => value is T,
): T | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (!fits(value)) throw bad(name, `must be ${expected}`)
  return value
}

/** The refusal for a field. @internal */
export function bad(name: string, problem: string): Refusal {
  return new Refusal(400, `\`${name}\` ${problem}.`, { details: { field: name } })
}

/**
 * A query value as the number it spells, so that the same rules serve bodies and queries; not a
 * number stays text and is refused. @internal
 */
export function numeric(value: string | null): unknown {
  return value === null || value.trim() === '' || Number.isNaN(Number(value))
    ? (value ?? undefined)
    : Number(value)
}

export const isText = (value: unknown): value is string => typeof value === 'string'
export const isName = (value: unknown): value is string => typeof value === 'string' && value !== ''
export const isFlag = (value: unknown): value is boolean => typeof value === 'boolean'
export const isInteger = (value: unknown): value is number => Number.isInteger(value)
export const isCount = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 1
export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const within =
  (least: number, most: number) =>
  (value: unknown): value is number =>
    typeof value === 'number' && value >= least && value <= most
export const oneOf =
  <const T extends string>(...values: readonly T[]) =>
  (value: unknown): value is T =>
    values.some((known) => known === value)
