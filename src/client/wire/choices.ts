import { isRecord } from '../../core/index.js'

/** Members nested deeper than this count as non-empty without being examined. */
const DEEPEST = 8

/** Whether a value is absent, null, or empty at every level. */
export function isEmpty(value: unknown, depth = 0): boolean {
  if (!value) return true
  if (typeof value !== 'object' || depth > DEEPEST) return false
  if (Array.isArray(value)) return value.length === 0
  // `for … in` is several times faster than `Object.keys`.
  for (const name in value)
    if (!isEmpty((value as Record<string, unknown>)[name], depth + 1)) return false
  return true
}

/** An own field of an object: a name such as `constructor` must not find an inherited member. */
export const fieldOf = (fields: Readonly<Record<string, unknown>>, name: string): unknown =>
  Object.hasOwn(fields, name) ? fields[name] : undefined

/** Whether a message or a delta contains anything but the role. */
export function hasOutput(message: unknown): boolean {
  if (!isRecord(message)) return false
  for (const name in message) if (name !== 'role' && !isEmpty(message[name])) return true
  return false
}

/** The index of a choice, or its position if the provider sends no index. */
export function indexOf(choice: Readonly<Record<string, unknown>>, place: number): number {
  const { index } = choice
  return typeof index === 'number' && Number.isInteger(index) && index >= 0 ? index : place
}

/** The finish reason of a choice; an empty string counts as none. */
export function reasonOf(choice: Readonly<Record<string, unknown>>): string | undefined {
  const { finish_reason } = choice
  return typeof finish_reason === 'string' && finish_reason !== '' ? finish_reason : undefined
}

/** The choices of a chunk or a completion; `undefined` if it has no such list. */
export function choicesOf(data: unknown): readonly unknown[] | undefined {
  return isRecord(data) && Array.isArray(data.choices) ? data.choices : undefined
}

/** The first failed choice in a chunk or a completion. */
export function failedChoice(data: unknown): Readonly<Record<string, unknown>> | undefined {
  const choices = choicesOf(data)
  if (choices === undefined) return undefined
  // By index, because this runs for every chunk and an iterator would cost more than the check.
  for (let i = 0; i < choices.length; i++) {
    const choice: unknown = choices[i]
    if (!isRecord(choice)) continue
    if (choice.finish_reason === 'error') return choice
    if (isRecord(choice.error) && !isEmpty(choice.error)) return choice
  }
  return undefined
}

/**
 * Tracks the choices of a stream. The stream is complete when every choice that began has a finish
 * reason.
 */
export class ChoiceProgress {
  /** For each choice that began, by index: whether it has ended. */
  readonly #ended = new Map<number, boolean>()
  #open = 0
  #hasOutput = false
  #isFiltered = false

  /** Records one chunk. Other values are ignored. */
  see(chunk: unknown): void {
    const choices = choicesOf(chunk)
    if (choices === undefined) return
    for (let i = 0; i < choices.length; i++) {
      const choice: unknown = choices[i]
      if (isRecord(choice)) this.#seeChoice(choice, indexOf(choice, i))
    }
  }

  /** Never true: the usage and `[DONE]` may still follow. */
  readonly hasEnded = false

  /** Every choice that began has ended. */
  get isWhole(): boolean {
    return this.#open === 0 && this.#ended.size > 0
  }

  /** The stream is complete, has output, and no content was filtered. */
  get isWorthKeeping(): boolean {
    return this.isWhole && this.#hasOutput && !this.#isFiltered
  }

  #seeChoice(choice: Readonly<Record<string, unknown>>, index: number): void {
    if (!this.#hasOutput) this.#hasOutput = hasOutput(choice.delta) || !isEmpty(choice.text)
    const ended = this.#ended.get(index)
    const reason = reasonOf(choice)
    if (reason === undefined) {
      if (ended !== undefined) return
      this.#ended.set(index, false)
      this.#open++
      return
    }
    if (reason === 'content_filter') this.#isFiltered = true
    if (ended === true) return
    this.#ended.set(index, true)
    if (ended === false) this.#open--
  }
}

/** Whether each choice has a finish reason, there is output, and no content was filtered. */
export function isWorthKeeping(choices: readonly unknown[]): boolean {
  let output = false
  for (const choice of choices) {
    const reason = isRecord(choice) ? reasonOf(choice) : undefined
    if (reason === undefined || reason === 'content_filter') return false
    const { message, text } = choice as { message?: unknown; text?: unknown }
    output ||= hasOutput(message) || !isEmpty(text)
  }
  return output
}
