import type { LogPart, Reader, StreamEnd } from '../../core/index.js'
import { Ending } from '../server/ending.js'
import type { EventDelivery, EventText } from '../server/event-body.js'

/** Where the events of a stream come from. */
export interface EventSource {
  /** The events that come next, as soon as there are any, or it is known that none will. */
  read(): Promise<LogPart>
  /** Nobody reads any more. */
  leave(): void
  /** How the stream has ended. */
  end(): StreamEnd
}

/** The events of a log as text for one client: no more is read than the client takes. */
export class FollowedEvents implements EventText {
  readonly delivery: EventDelivery
  readonly #source: EventSource
  readonly #signal: AbortSignal | undefined
  readonly #ending = new Ending()
  #writer: Reader | undefined
  #text = ''
  #isReading = false
  /** Nothing comes but what is there. */
  #isComplete = false

  /** @param signal ends the events where they are: the stream itself goes on elsewhere */
  constructor(source: EventSource, delivery: EventDelivery, signal?: AbortSignal) {
    this.#source = source
    this.delivery = delivery
    this.#signal = signal
    signal?.addEventListener('abort', this, { once: true })
  }

  get isOver(): boolean {
    return this.#ending.end !== undefined
  }

  attach(writer: Reader): void {
    this.#writer = writer
  }

  onEnd(listener: (end: StreamEnd) => void): void {
    this.#ending.onEnd(listener)
  }

  take(): string {
    if (this.#ending.end !== undefined) return ''
    const text = this.#text
    this.#text = ''
    if (this.#isComplete) this.#finish(this.#source.end())
    else if (text === '') this.#read()
    return text
  }

  leave(): void {
    if (this.#ending.end !== undefined) return
    this.#text = ''
    this.#finish({ outcome: 'left' })
  }

  handleEvent(): void {
    this.leave()
    this.#writer?.readable()
  }

  #read(): void {
    if (this.#isReading) return
    this.#isReading = true
    void this.#source.read().then((part) => this.#took(part))
  }

  #took({ entries, state }: LogPart): void {
    this.#isReading = false
    if (this.#ending.end !== undefined) return
    this.#text += entries.join('')
    this.#isComplete = state !== 'open'
    this.#writer?.readable()
  }

  #finish(end: StreamEnd): void {
    this.#ending.finish(end)
    this.#signal?.removeEventListener('abort', this)
    this.#source.leave()
  }
}
