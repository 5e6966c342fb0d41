import {
  NOTHING,
  type Reader,
  Stream,
  type StreamEnd,
  type StreamIterator,
} from '../../core/index.js'
import { frame, type ServerSentEvent } from '../../streams/event-frame.js'
import { type EventDelivery, type EventText, WrittenEvents } from './written-events.js'

/** How the chunks of a stream are written as events. */
export interface EventForm<Chunk> {
  /** The data of a chunk. Not needed for frames, which are written as the text that arrived. */
  data?(chunk: Chunk): string
  /** The events of a chunk, if it does not become a single event with its data. */
  events?(chunk: Chunk): readonly ServerSentEvent[]
  /** Called with the data of a frame that is written unchanged. */
  see?(data: string): void
  /** The events after the last chunk of a complete stream. @default `[DONE]` */
  end?(): readonly ServerSentEvent[]
  /** The events that report a failure; an empty list if the client has gone. */
  error(error: unknown): readonly ServerSentEvent[]
}

/** A comment that keeps proxies from closing an idle connection. */
export const KEEP_ALIVE = ': keep-alive\n\n'

const DONE = frame({ data: '[DONE]' })

const framesOf = (events: readonly ServerSentEvent[]): string => events.map(frame).join('')

/**
 * Converts a stream to the text of its events. Everything that has arrived is taken at once, so
 * that one read from upstream becomes one write. Nothing is buffered here.
 */
export class EventBody extends WrittenEvents implements EventText, Reader {
  readonly #source: StreamIterator<unknown>
  readonly #form: EventForm<never>

  constructor(source: StreamIterator<unknown>, form: EventForm<never>, delivery: EventDelivery) {
    super(delivery)
    this.#source = source
    this.#form = form
    source.attach(this)
  }

  take(): string {
    if (this.end !== undefined) return ''
    let text = this.#events()
    if (this.#source.isOver) text += this.#last()
    else if (text === '') this.#source.ask()
    return text
  }

  readable(): void {
    this.writer?.readable()
  }

  leave(): void {
    if (this.end !== undefined) return
    this.#source.leave()
    this.finish({ outcome: 'left' })
  }

  failureText(error: unknown): string {
    return framesOf(this.#form.error(error))
  }

  #events(): string {
    const source = this.#source
    const form = this.#form as EventForm<unknown>
    let text = ''
    if (form.events === undefined && source instanceof Stream && source.log.frames) {
      for (const { text: data, event } of source.readFrames()) {
        form.see?.(data)
        text += frame({ data, event })
      }
      return text
    }
    for (let chunk = source.read(); chunk !== NOTHING; chunk = source.read())
      text += form.events
        ? framesOf(form.events(chunk))
        : frame({ data: form.data?.(chunk) ?? JSON.stringify(chunk) })
    return text
  }

  /** The events after the last chunk. */
  #last(): string {
    const failure = this.#source.takeFailure()
    if (failure !== undefined) {
      this.finish({ outcome: 'failed', error: failure.error })
      return this.failureText(failure.error)
    }
    // The stream may have been left elsewhere, and is then not complete.
    const end = (this.#source as { ended?: StreamEnd }).ended ?? { outcome: 'complete' }
    this.finish(end)
    if (end.outcome !== 'complete') return ''
    return this.#form.end === undefined ? DONE : framesOf(this.#form.end())
  }
}
