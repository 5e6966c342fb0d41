import type { LogPart, StreamEnd } from '../../core/index.js'
import type { EventDelivery, EventText } from '../server/written-events.js'
import { WrittenEvents } from '../server/written-events.js'

/** A source of a stream's events. */
export interface EventSource {
  /** Resolves with the next events, or at the end of the stream. */
  read(): Promise<LogPart>
  /** Called when the reader stops. */
  leave(): void
  /** How the stream ended. */
  end(): StreamEnd
}

/** The events of a log as text for one client. Reads only as fast as the client. */
export class FollowedEvents extends WrittenEvents implements EventText {
  readonly #source: EventSource
  readonly #signal: AbortSignal | undefined
  #text = ''
  #isReading = false
  /** Whether the last event has been read. */
  #isComplete = false

  /** @param signal ends these events; the stream itself continues */
  constructor(source: EventSource, delivery: EventDelivery, signal?: AbortSignal) {
    super(delivery)
    this.#source = source
    this.#signal = signal
    signal?.addEventListener('abort', this, { once: true })
  }

  take(): string {
    if (this.end !== undefined) return ''
    const text = this.#text
    this.#text = ''
    if (this.#isComplete) this.finish(this.#source.end())
    else if (text === '') this.#read()
    return text
  }

  leave(): void {
    if (this.end !== undefined) return
    this.#text = ''
    this.finish({ outcome: 'left' })
  }

  handleEvent(): void {
    this.leave()
    this.writer?.readable()
  }

  #read(): void {
    if (this.#isReading) return
    this.#isReading = true
    void this.#source.read().then((part) => this.#took(part))
  }

  #took({ entries, state }: LogPart): void {
    this.#isReading = false
    if (this.end !== undefined) return
    this.#text += entries.join('')
    this.#isComplete = state !== 'open'
    this.writer?.readable()
  }

  protected override finish(end: StreamEnd): void {
    super.finish(end)
    this.#signal?.removeEventListener('abort', this)
    this.#source.leave()
  }
}
