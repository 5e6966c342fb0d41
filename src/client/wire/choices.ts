import { isRecord } from '../../core/index.js'

/** Deeper members are something, whatever is in them. */
const DEEPEST = 8

/** Whether a value says nothing: absent, null and empty are alike. */
export function isEmpty(value: unknown, depth = 0): boolean {
  if (!value) return true
  if (typeof value !== 'object' || depth > DEEPEST) return false
  if (Array.isArray(value)) return value.length === 0
  // `in` costs a fraction of a list of the names.
  for (const name in value)
    if (!isEmpty((value as Record<string, unknown>)[name], depth + 1)) return false
  return true
}

/** A field of an object of ours; a name like `constructor` must not find what every object has. */
export const fieldOf = (fields: Readonly<Record<string, unknown>>, name: string): unknown =>
  Object.hasOwn(fields, name) ? fields[name] : undefined

/** Whether a message, or what a chunk adds to it, holds anything beside the role. */
export function hasOutput(message: unknown): boolean {
  if (!isRecord(message)) return false
  for (const name in message) if (name !== 'role' && !isEmpty(message[name])) return true
  return false
}

/** Which choice this is: providers that give no index count by place. */
export function indexOf(choice: Readonly<Record<string, unknown>>, place: number): number {
  const { index } = choice
  return typeof index === 'number' && Number.isInteger(index) && index >= 0 ? index : place
}

/** Why a choice ended, if it says so: an empty reason is none. */
export function reasonOf(choice: Readonly<Record<string, unknown>>): string | undefined {
  const { finish_reason } = choice
  return typeof finish_reason === 'string' && finish_reason !== '' ? finish_reason : undefined
}

/** The choices of a chunk or a completion; `undefined` where there are none. */
export function choicesOf(data: unknown): readonly unknown[] | undefined {
  return isRecord(data) && Array.isArray(data.choices) ? data.choices : undefined
}

/** The choice that failed inside a chunk or a completion, if one did. */
export function failedChoice(data: unknown): Readonly<Record<string, unknown>> | undefined {
  const choices = choicesOf(data)
  if (choices === undefined) return undefined
  // By index, as in all that looks at every chunk: an iterator costs more than what it is for.
  for (let i = 0; i < choices.length; i++) {
    const choice: unknown = choices[i]
    if (!isRecord(choice)) continue
    if (choice.finish_reason === 'error') return choice
    if (isRecord(choice.error) && !isEmpty(choice.error)) return choice
  }
  return undefined
}

/**
 * How far the choices of a stream have come. A stream is whole when every choice that began has
 * said why it ended.
 */
export class ChoiceProgress {
  /** Whether each choice that began has ended. */
  readonly #ended = new Map<number, boolean>()
  #open = 0
  #hasOutput = false
  #isFiltered = false

  /** Takes in one chunk; what is none changes nothing. */
  see(chunk: unknown): void {
    const choices = choicesOf(chunk)
    if (choices === undefined) return
    for (let i = 0; i < choices.length; i++) {
      const choice: unknown = choices[i]
      if (isRecord(choice)) this.#seeChoice(choice, indexOf(choice, i))
    }
  }

  /** Usage may follow, and `[DONE]`. */
  readonly hasEnded = false

  /** Every choice that began has ended. */
  get isWhole(): boolean {
    return this.#open === 0 && this.#ended.size > 0
  }

  /** It is whole, there is something in it, and nothing was taken out. */
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

/** Whether a completion says why each choice ended, holds something, and nothing was taken out. */
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
