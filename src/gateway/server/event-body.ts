import {
  NOTHING,
  type Reader,
  Stream,
  type StreamEnd,
  type StreamIterator,
} from '../../core/index.js'
import { frame, type ServerSentEvent } from '../../streams/event-frame.js'
import { type EventDelivery, type EventText, WrittenEvents } from './written-events.js'

/** How the events of a stream look. */
export interface EventForm<Chunk> {
  /** The data of a chunk. Frames are written as the text they came as, and need none. */
  data?(chunk: Chunk): string
  /** The events of a chunk, where it does not become one event of its own data. */
  events?(chunk: Chunk): readonly ServerSentEvent[]
  /** Looks at the data of a frame that is written as it came. */
  see?(data: string): void
  /** What follows the last chunk of a whole stream. @default `[DONE]` */
  end?(): readonly ServerSentEvent[]
  /** The last events of a stream that failed; none for nobody. */
  error(error: unknown): readonly ServerSentEvent[]
}

/** A comment keeps proxies from closing a connection on which nothing is sent. */
export const KEEP_ALIVE = ': keep-alive\n\n'

const DONE = frame({ data: '[DONE]' })

const framesOf = (events: readonly ServerSentEvent[]): string => events.map(frame).join('')

/**
 * The events of a stream as text, for the one who writes them: all that is there at once, so that
 * what one read of the upstream's socket brought is one write. Nothing is held here.
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

  /** What follows the last chunk. */
  #last(): string {
    const failure = this.#source.takeFailure()
    if (failure !== undefined) {
      this.finish({ outcome: 'failed', error: failure.error })
      return this.failureText(failure.error)
    }
    // A stream that somebody else has left is not complete.
    const end = (this.#source as { ended?: StreamEnd }).ended ?? { outcome: 'complete' }
    this.finish(end)
    if (end.outcome !== 'complete') return ''
    return this.#form.end === undefined ? DONE : framesOf(this.#form.end())
  }
}
