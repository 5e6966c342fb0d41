import { choicesOf, indexOf, isEmpty, reasonOf } from '../../../client/wire/choices.js'
import { firstChoice, textIn } from '../../../client/wire/completion.js'
import { isRecord } from '../../../core/index.js'
import { Calls } from './calls.js'
import { ResponseHead, usageOf } from './head.js'
import { FunctionCall, type Item, Message, Reasoning } from './items.js'

type Fields = Readonly<Record<string, unknown>>

/** Fields in which servers send reasoning; the first non-empty one is used. */
const THOUGHTS = ['reasoning_content', 'reasoning', 'thinking'] as const

/** The reason of an incomplete response, by finish reason. */
const INCOMPLETE: Readonly<Record<string, string>> = {
  length: 'max_output_tokens',
  content_filter: 'content_filter',
}

/**
 * Translates the answer of a chat, complete or in chunks, to a response and its events.
 * @see https://platform.openai.com/docs/api-reference/responses-streaming
 */
export class Translation {
  readonly #head: ResponseHead
  readonly #items: Item[] = []
  readonly #calls = new Calls((callId, name) => {
    this.#closeOpen()
    const call = new FunctionCall(this.#items.length, this.#emit, callId, name)
    this.#items.push(call)
    return call
  })
  /** The reasoning or message that is still being written. */
  #open: Reasoning | Message | undefined
  #reason: string | undefined
  #usage: unknown
  #sequence = 0
  #hasBegun = false
  #events: Fields[] = []

  /** @param body the request */
  constructor(body: Fields) {
    this.#head = new ResponseHead(body)
  }

  /** The events of one chunk. */
  chunk(chunk: unknown): readonly Fields[] {
    if (isRecord(chunk)) {
      this.#head.see(chunk)
      this.#begin()
      if (isRecord(chunk.usage)) this.#usage = chunk.usage
      const choices = choicesOf(chunk) ?? []
      choices.forEach((choice, place) => {
        // Only the first choice was requested.
        if (isRecord(choice) && indexOf(choice, place) === 0) this.#choice(choice)
      })
    }
    return this.#taken()
  }

  /** The events after the last chunk. */
  end(): readonly Fields[] {
    this.#begin()
    this.#calls.finish()
    this.#closeAll()
    const response = this.#response()
    this.#emit(`response.${response.status}`, { response })
    return this.#taken()
  }

  /** The events of a failure after the beginning. `error` is shown to clients. */
  failed(error: { readonly code: string; readonly message: string; readonly param: unknown }) {
    this.#begin()
    const { code, message, param } = error
    // Not nested: with a member `error`, OpenAI's SDK would throw before delivering the event.
    this.#emit('error', { code, message, param })
    const failure = {
      code: code === 'rate_limited' ? 'rate_limit_exceeded' : 'server_error',
      message,
    }
    const output = this.#items.map(({ whole }) => whole)
    const response = this.#head.with({ status: 'failed', output, usage: null, error: failure })
    this.#emit('response.failed', { response })
    return this.#taken()
  }

  /** Translates a complete completion to a response. */
  static whole(body: Fields, completion: Fields): Fields {
    const translation = new Translation(body)
    translation.#head.see(completion)
    translation.#usage = completion.usage
    const choice = firstChoice(completion)
    if (choice !== undefined) translation.#choice({ ...choice, delta: choice.message })
    translation.#calls.finish()
    translation.#closeAll()
    return translation.#response()
  }

  readonly #emit = (type: string, fields: Fields): void => {
    this.#events.push({ type, sequence_number: this.#sequence++, ...fields })
  }

  #taken(): readonly Fields[] {
    const events = this.#events
    this.#events = []
    return events
  }

  #begin(): void {
    if (this.#hasBegun) return
    this.#hasBegun = true
    const response = this.#head.with({ status: 'in_progress', output: [], usage: null })
    this.#emit('response.created', { response })
    this.#emit('response.in_progress', { response })
  }

  #choice(choice: Fields): void {
    const { delta, logprobs } = choice
    if (isRecord(delta)) this.#add(delta, isRecord(logprobs) ? logprobs.content : undefined)
    this.#reason = reasonOf(choice) ?? this.#reason
  }

  #add(delta: Fields, logprobs: unknown): void {
    const thought = THOUGHTS.map((name) => delta[name]).find((value) => !isEmpty(value))
    if (typeof thought === 'string') this.#reasoning().add(thought)
    const text = textIn(delta.content)
    if (text !== '') this.#message().addText(text, Array.isArray(logprobs) ? logprobs : [])
    if (typeof delta.refusal === 'string' && delta.refusal !== '')
      this.#message().addRefusal(delta.refusal)
    for (const annotation of citationsIn(delta.annotations))
      this.#message().addAnnotation(annotation)
    for (const piece of [delta.tool_calls].flat()) if (isRecord(piece)) this.#calls.add(piece)
    if (isRecord(delta.function_call)) this.#calls.add({ function: delta.function_call })
  }

  #reasoning(): Reasoning {
    if (this.#open instanceof Reasoning) return this.#open
    return this.#openNext(new Reasoning(this.#nextPlace(), this.#emit))
  }

  #message(): Message {
    if (this.#open instanceof Message) return this.#open
    return this.#openNext(new Message(this.#nextPlace(), this.#emit))
  }

  /** Closes the open item and returns the index of the next one. */
  #nextPlace(): number {
    this.#closeOpen()
    return this.#items.length
  }

  #openNext<I extends Reasoning | Message>(item: I): I {
    this.#open = item
    this.#items.push(item)
    return item
  }

  #closeOpen(): void {
    if (this.#open !== undefined) this.#close(this.#open, 'completed')
    this.#open = undefined
  }

  #closeAll(): void {
    const status = this.#isIncomplete ? 'incomplete' : 'completed'
    for (const item of this.#items)
      if (item === this.#open || item instanceof FunctionCall) this.#close(item, status)
    this.#open = undefined
  }

  #close(item: Item, status: 'completed' | 'incomplete'): void {
    item.close(status)
    const output_index = this.#items.indexOf(item)
    this.#emit('response.output_item.done', { output_index, item: item.whole })
  }

  get #isIncomplete(): boolean {
    return this.#reason !== undefined && Object.hasOwn(INCOMPLETE, this.#reason)
  }

  #response(): Fields {
    const output = this.#items.map(({ whole }) => whole)
    const usage = usageOf(this.#usage)
    if (!this.#isIncomplete) return this.#head.with({ status: 'completed', output, usage })
    const incomplete_details = { reason: INCOMPLETE[this.#reason as string] }
    return this.#head.with({ status: 'incomplete', output, usage, incomplete_details })
  }
}

/** The URL citations of an answer in the format of a response. Other kinds are left out. */
function citationsIn(annotations: unknown): readonly Fields[] {
  if (!Array.isArray(annotations)) return []
  return annotations.filter(isRecord).flatMap(({ type, url_citation }) => {
    if (type !== 'url_citation' || !isRecord(url_citation)) return []
    const { start_index = 0, end_index = 0, url = '', title = '' } = url_citation
    return [{ type, start_index, end_index, url, title }]
  })
}
