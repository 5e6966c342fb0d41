import { isRecord } from '../../core/index.js'
import type { ChatCompletion, WireUsage } from '../types.js'
import { choicesOf, fieldOf, indexOf, isEmpty, reasonOf } from './choices.js'
import { ToolCalls } from './tool-calls.js'

/** Members of a message whose text is concatenated from all chunks. */
const TEXTS: ReadonlySet<string> = new Set([
  'content',
  'reasoning_content',
  'reasoning',
  'thinking',
  'refusal',
])

/** Members of a message whose list items are collected from all chunks. */
const LISTS: ReadonlySet<string> = new Set(['annotations', 'images'])

/** Fields of a chunk whose last value replaces the earlier ones. */
const GROWING: ReadonlySet<string> = new Set([
  'citations',
  'search_results',
  'related_questions',
  'timings',
  'prompt_filter_results',
  'system_fingerprint',
  'service_tier',
])

/** Fields of a chunk whose first value is kept. */
const HEAD: ReadonlySet<string> = new Set(['id', 'created', 'model'])

/** Fields that are not copied: padding, and those that are built here. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  'object',
  'choices',
  'usage',
  'obfuscation',
  '__proto__',
])

type Fields = Record<string, unknown>

/**
 * Assembles a completion from the chunks of a complete stream. Returns `undefined` if the chunks
 * are not a chat, or contain a field whose pieces cannot be joined with certainty.
 */
export function fromChunks(chunks: readonly unknown[]): ChatCompletion | undefined {
  const assembly = new Assembly()
  for (const chunk of chunks) if (isRecord(chunk)) assembly.add(chunk)
  return assembly.completion
}

class Assembly {
  readonly #fields: Fields = { id: undefined, object: 'chat.completion', created: undefined }
  readonly #choices = new Map<number, ChoiceAssembly>()
  #usage: WireUsage | undefined
  #isKnown = true

  add(chunk: Readonly<Fields>): void {
    if (isRecord(chunk.usage)) this.#usage = chunk.usage as WireUsage
    for (const name in chunk) if (!LEFT_OUT.has(name)) this.#addField(name, chunk[name])
    const choices = choicesOf(chunk) ?? []
    for (let i = 0; i < choices.length; i++) {
      const part: unknown = choices[i]
      if (!isRecord(part)) continue
      const index = indexOf(part, i)
      const choice = this.#choices.get(index) ?? new ChoiceAssembly(index)
      this.#choices.set(index, choice)
      choice.add(part)
    }
  }

  get completion(): ChatCompletion | undefined {
    const choices = [...this.#choices.values()].sort((a, b) => a.index - b.index)
    if (choices.length === 0 || !this.#isKnown || choices.some(({ isKnown }) => !isKnown))
      return undefined
    return {
      ...this.#fields,
      choices: choices.map((choice) => choice.whole),
      ...(this.#usage && { usage: this.#usage }),
    } as unknown as ChatCompletion
  }

  #addField(name: string, value: unknown): void {
    const before = fieldOf(this.#fields, name)
    if (isEmpty(value)) this.#fields[name] = before ?? value
    else if (isEmpty(before) || GROWING.has(name)) this.#fields[name] = value
    else if (!HEAD.has(name) && !areAlike(before, value)) this.#isKnown = false
  }
}

/** Assembles one choice from its chunks. */
class ChoiceAssembly {
  readonly index: number
  readonly #fields: Fields = {}
  readonly #message: Fields = { role: 'assistant', content: null }
  #finishReason: string | null = null
  #calls: ToolCalls | undefined
  /** Whether all pieces could be joined with certainty. */
  isKnown = true

  constructor(index: number) {
    this.index = index
  }

  get whole(): ChatCompletion['choices'][number] {
    const message = this.#calls ? { ...this.#message, tool_calls: this.#calls.list } : this.#message
    return {
      ...this.#fields,
      index: this.index,
      message: message as never,
      finish_reason: this.#finishReason,
    }
  }

  add(part: Readonly<Fields>): void {
    this.#finishReason = reasonOf(part) ?? this.#finishReason
    for (const name in part) {
      const value = part[name]
      if (name === 'delta') this.#addDelta(value)
      else if (name === 'logprobs') this.#addLogprobs(value)
      else if (name !== 'index' && name !== 'finish_reason' && name !== '__proto__')
        this.#addField(name, value)
    }
  }

  #addField(name: string, value: unknown): void {
    const before = fieldOf(this.#fields, name)
    if (!areAlike(before, value)) this.isKnown = false
    this.#fields[name] = isEmpty(before) && !isEmpty(value) ? value : (before ?? value)
  }

  #addLogprobs(value: unknown): void {
    const before = this.#fields.logprobs
    if (!isRecord(before) || !isRecord(value)) {
      if (!isEmpty(value) && !isEmpty(before)) this.isKnown = false
      this.#fields.logprobs = isEmpty(value) ? (before ?? value) : value
      return
    }
    const joined: Fields = { ...before }
    for (const name in value) joined[name] = this.#joinLists(fieldOf(before, name), value[name])
    this.#fields.logprobs = joined
  }

  #addDelta(delta: unknown): void {
    if (!isRecord(delta)) return
    for (const name in delta) {
      const value = delta[name]
      if (name === '__proto__') continue
      if (name === 'tool_calls') this.#addToolCalls(value)
      else if (name === 'role') this.#message.role = value || this.#message.role
      else this.#message[name] = this.#join(name, fieldOf(this.#message, name), value)
    }
  }

  #addToolCalls(pieces: unknown): void {
    if (!Array.isArray(pieces)) return
    this.#calls ??= new ToolCalls()
    for (const piece of pieces) if (isRecord(piece) && !this.#calls.add(piece)) this.isKnown = false
  }

  #join(name: string, before: unknown, after: unknown): unknown {
    if (isEmpty(after)) return before ?? after
    if (isEmpty(before)) return after
    if (TEXTS.has(name) && typeof before === 'string' && typeof after === 'string')
      return before + after
    if (LISTS.has(name)) return this.#joinLists(before, after)
    if (name === 'audio' && isRecord(before) && isRecord(after))
      return joinPieces(before, after, ['data', 'transcript'])
    if (name === 'function_call' && isRecord(before) && isRecord(after))
      return joinPieces(before, after, ['arguments'])
    this.isKnown = false
    return before
  }

  #joinLists(before: unknown, after: unknown): unknown {
    if (isEmpty(after)) return before ?? after
    if (isEmpty(before)) return after
    if (Array.isArray(before) && Array.isArray(after)) return [...before, ...after]
    this.isKnown = false
    return before
  }
}

/** Whether the two values are equal, or at least one is empty. */
const areAlike = (before: unknown, after: unknown): boolean =>
  isEmpty(before) ||
  isEmpty(after) ||
  before === after ||
  (typeof before === 'object' && JSON.stringify(before) === JSON.stringify(after))

/** Concatenates the named members, such as the base64 data and the transcript of audio. */
function joinPieces(
  before: Readonly<Fields>,
  after: Readonly<Fields>,
  inPieces: readonly string[],
): Fields {
  const joined: Fields = { ...before }
  for (const name in after) {
    const [a, b] = [fieldOf(before, name), after[name]]
    if (inPieces.includes(name) && typeof a === 'string' && typeof b === 'string')
      joined[name] = a + b
    else joined[name] = isEmpty(b) ? (a ?? b) : b
  }
  return joined
}
