import type { Limit } from './limits.js'
import { type FieldError, FieldsError } from './server/message.js'

/**
 * Reads the fields of a body one after the other and throws once, naming every field that is wrong.
 */
export class Fields {
  readonly #body: Readonly<Record<string, unknown>>
  readonly #errors: FieldError[] = []

  constructor(body: Readonly<Record<string, unknown>>) {
    this.#body = body
  }

  #value(field: string): unknown {
    const value = Object.hasOwn(this.#body, field) ? this.#body[field] : undefined
    return value === null ? undefined : value
  }

  wrong(field: string, message: string): undefined {
    this.#errors.push({ field, message })
    return undefined
  }

  prompt(field: string): string {
    const value = this.#value(field)
    if (typeof value === 'string' && value.trim() !== '') return value
    this.wrong(field, value === undefined ? 'is missing' : 'must be a string that is not empty')
    return ''
  }

  text(field: string): string | undefined {
    const value = this.#value(field)
    if (value === undefined || (typeof value === 'string' && value !== '')) return value
    return this.wrong(field, 'must be a string that is not empty')
  }

  integer(field: string, { fallback, min, max }: Limit): number {
    const value = this.#value(field) ?? fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max)
      return value
    this.wrong(field, `must be a whole number from ${min} to ${max}`)
    return fallback
  }

  number(field: string, { fallback, min, max }: Limit): number {
    const value = this.#value(field) ?? fallback
    if (typeof value === 'number' && value >= min && value <= max) return value
    this.wrong(field, `must be a number from ${min} to ${max}`)
    return fallback
  }

  present(field: string): void {
    if (this.#value(field) === undefined) this.wrong(field, 'is missing')
  }

  /** A list with something in it; its items are judged one by one by whoever uses them. */
  list(field: string): readonly unknown[] {
    const value = this.#value(field)
    if (Array.isArray(value) && value.length > 0) return value
    this.wrong(field, value === undefined ? 'is missing' : 'must be a list that is not empty')
    return []
  }

  /** @throws FieldsError 400, when any field was wrong */
  check(): void {
    if (this.#errors.length > 0) throw new FieldsError(this.#errors)
  }
}
