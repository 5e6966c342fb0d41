import { newId } from './head.js'

type Fields = Readonly<Record<string, unknown>>
/** Writes one event of the stream. */
export type Emit = (type: string, fields: Fields) => void
type Status = 'in_progress' | 'completed' | 'incomplete'

/** An item of the answer while it is built. Its events contain its id and index. */
export interface Item {
  /** The item in its current state. */
  readonly whole: Fields
  close(status: Status): void
}

/** The reasoning that the model reports. */
export class Reasoning implements Item {
  readonly #id = newId('rs')
  readonly #emit: Emit
  #text = ''

  constructor(output_index: number, emit: Emit) {
    const item_id = this.#id
    this.#emit = (type, fields) => emit(type, { item_id, output_index, ...fields })
    emit('response.output_item.added', { output_index, item: this.whole })
    this.#emit('response.reasoning_summary_part.added', { summary_index: 0, part: this.#part })
  }

  add(delta: string): void {
    this.#text += delta
    this.#emit('response.reasoning_summary_text.delta', { summary_index: 0, delta })
  }

  close(): void {
    this.#emit('response.reasoning_summary_text.done', { summary_index: 0, text: this.#text })
    this.#emit('response.reasoning_summary_part.done', { summary_index: 0, part: this.#part })
  }

  get whole(): Fields {
    const summary = this.#text === '' ? [] : [this.#part]
    return { id: this.#id, type: 'reasoning', summary }
  }

  get #part(): Fields {
    return { type: 'summary_text', text: this.#text }
  }
}

/** The model's message: parts of text and of refusal. */
export class Message implements Item {
  readonly #id = newId('msg')
  readonly #emit: Emit
  readonly #parts: Part[] = []
  #status: Status = 'in_progress'

  constructor(output_index: number, emit: Emit) {
    const item_id = this.#id
    this.#emit = (type, fields) => emit(type, { item_id, output_index, ...fields })
    emit('response.output_item.added', { output_index, item: this.whole })
  }

  addText(delta: string, logprobs: readonly unknown[]): void {
    this.#partOf(Text).add(delta, logprobs)
  }

  addAnnotation(annotation: Fields): void {
    this.#partOf(Text).annotate(annotation)
  }

  addRefusal(delta: string): void {
    this.#partOf(Refusal).add(delta)
  }

  close(status: Status): void {
    this.#status = status
    this.#parts.at(-1)?.close()
  }

  get whole(): Fields {
    const content = this.#parts.map(({ whole }) => whole)
    return { id: this.#id, type: 'message', status: this.#status, role: 'assistant', content }
  }

  /** The last part if it is of this kind, otherwise a new one. */
  #partOf<P extends Part>(Kind: new (emit: Emit) => P): P {
    const last = this.#parts.at(-1)
    if (last instanceof Kind) return last
    last?.close()
    const content_index = this.#parts.length
    const part = new Kind((type, fields) => this.#emit(type, { content_index, ...fields }))
    this.#parts.push(part)
    return part
  }
}

interface Part {
  readonly whole: Fields
  close(): void
}

class Text implements Part {
  readonly #emit: Emit
  readonly #logprobs: unknown[] = []
  readonly #annotations: Fields[] = []
  #text = ''

  constructor(emit: Emit) {
    this.#emit = emit
    emit('response.content_part.added', { part: this.whole })
  }

  add(delta: string, logprobs: readonly unknown[]): void {
    this.#text += delta
    this.#logprobs.push(...logprobs)
    this.#emit('response.output_text.delta', { delta, logprobs })
  }

  annotate(annotation: Fields): void {
    const annotation_index = this.#annotations.push(annotation) - 1
    this.#emit('response.output_text.annotation.added', { annotation_index, annotation })
  }

  close(): void {
    this.#emit('response.output_text.done', { text: this.#text, logprobs: this.#logprobs })
    this.#emit('response.content_part.done', { part: this.whole })
  }

  get whole(): Fields {
    return {
      type: 'output_text',
      text: this.#text,
      annotations: [...this.#annotations],
      logprobs: [...this.#logprobs],
    }
  }
}

class Refusal implements Part {
  readonly #emit: Emit
  #refusal = ''

  constructor(emit: Emit) {
    this.#emit = emit
    emit('response.content_part.added', { part: this.whole })
  }

  add(delta: string): void {
    this.#refusal += delta
    this.#emit('response.refusal.delta', { delta })
  }

  close(): void {
    this.#emit('response.refusal.done', { refusal: this.#refusal })
    this.#emit('response.content_part.done', { part: this.whole })
  }

  get whole(): Fields {
    return { type: 'refusal', refusal: this.#refusal }
  }
}

/** A function call of the model. */
export class FunctionCall implements Item {
  readonly #id = newId('fc')
  readonly #emit: Emit
  readonly #callId: string
  readonly #name: string
  #arguments = ''
  #status: Status = 'in_progress'

  constructor(output_index: number, emit: Emit, callId: string | undefined, name: string) {
    const item_id = this.#id
    this.#callId = callId || newId('call')
    this.#name = name
    this.#emit = (type, fields) => emit(type, { item_id, output_index, ...fields })
    emit('response.output_item.added', { output_index, item: this.whole })
  }

  add(delta: string): void {
    if (delta === '') return
    this.#arguments += delta
    this.#emit('response.function_call_arguments.delta', { delta })
  }

  close(status: Status): void {
    this.#status = status
    const { name, arguments: all } = this.whole
    this.#emit('response.function_call_arguments.done', { name, arguments: all })
  }

  get whole(): Fields {
    return {
      id: this.#id,
      type: 'function_call',
      status: this.#status,
      call_id: this.#callId,
      name: this.#name,
      arguments: this.#arguments,
    }
  }
}
