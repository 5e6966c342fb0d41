import {
  type LogPart,
  type LogReader,
  type Reader,
  type StreamEnd,
  Timer,
} from '../../core/index.js'
import type { EventText } from '../server/written-events.js'
import type { CallSignal } from './call-signal.js'
import { abandoned, fellBehind, interrupted, stoppedByClient } from './errors.js'
import { eventsIn, type FailureForm, formOf, numbered } from './event-form.js'
import type { EventSource } from './followed-events.js'
import type { MemoryLog } from './memory-log.js'
import type { FinalState, SharedWriting } from './shared-streams.js'

/** Options of a recording. */
export interface RecordingOptions {
  /** The events that the client would receive. */
  readonly body: EventText
  readonly call: CallSignal
  readonly log: MemoryLog
  /** Writes the events for other servers. */
  readonly shared: SharedWriting | undefined
  /** How long the stream continues without clients. Milliseconds; may change during a close. */
  graceMs(): number
  ended(state: FinalState): void
}

/**
 * Runs a stream for its clients and writes its events into logs. It runs at the pace of the fastest
 * connected client; without clients it continues at full speed for a while.
 */
export class Recording implements Reader {
  readonly #options: RecordingOptions
  readonly #form: FailureForm
  readonly #sources = new Set<RunningSource>()
  #next = 0
  #readersElsewhere = 0
  #hasBegun = false
  #grace: Timer | undefined
  #end: StreamEnd | undefined

  constructor(options: RecordingOptions) {
    this.#options = options
    this.#form = formOf(options.body)
    options.body.onEnd((end) => {
      this.#end ??= end
    })
    options.body.attach(this)
    options.shared?.watch({
      readers: (count) => {
        this.#readersElsewhere = count
        this.attend()
      },
      // Readers on other servers can no longer be counted.
      lost: () => {
        this.#readersElsewhere = 0
        this.attend()
      },
      stopped: () => this.stop(stoppedByClient(), 'stopped'),
    })
  }

  /** Index of the next event. */
  get next(): number {
    return this.#next
  }

  /** How the stream ended; `undefined` while it runs. */
  get end(): StreamEnd | undefined {
    return this.#end
  }

  /** The events from an index on, for a client of this server. */
  follow(from: number): EventSource {
    const source = new RunningSource(this, this.#options.log.follow(from), from)
    this.#sources.add(source)
    this.#hasBegun = true
    this.attend()
    return source
  }

  readable(): void {
    this.pump()
  }

  /** Records events while a client waits for them, or while no client is connected. */
  pump(): void {
    const { body, log } = this.#options
    while (log.state === 'open' && this.#isWanted) {
      const text = body.take()
      if (text === '' && !body.isOver) return
      const events = eventsIn(text)
      const last = body.isOver ? (events.pop() ?? this.#form(interrupted())) : undefined
      for (const event of events) this.#write(event)
      if (last !== undefined) this.#finish(last, 'ended')
    }
  }

  /** Aborts the stream. */
  stop(error: unknown, state: FinalState = 'ended'): void {
    const { body, call, log } = this.#options
    if (log.state !== 'open') return
    // A stream that its client stopped has not failed.
    this.#end = state === 'stopped' ? { outcome: 'left' } : { outcome: 'failed', error }
    this.#finish(this.#form(error), state)
    call.abort(error)
    body.leave()
  }

  /** Aborts the stream because the server closes. */
  cut(reason: unknown): void {
    this.stop(reason)
  }

  /** Removes a client that has left. */
  left(source: RunningSource): void {
    if (this.#sources.delete(source)) this.attend()
  }

  /** Called when a client came or left. Starts the grace period if there are none. */
  attend(): void {
    this.#grace?.stop()
    this.#grace = undefined
    if (this.#options.log.state !== 'open' || !this.#hasBegun) return
    if (this.#sources.size === 0 && this.#readersElsewhere === 0) this.#goOnAlone()
    this.pump()
  }

  #goOnAlone(): void {
    const ms = this.#options.graceMs()
    if (ms === 0) return this.stop(abandoned(ms))
    this.#grace = new Timer(ms, () => this.stop(abandoned(ms)))
  }

  get #isWanted(): boolean {
    if (this.#sources.size === 0 || this.#readersElsewhere > 0) return true
    for (const source of this.#sources) if (source.isWaiting) return true
    return false
  }

  #write(event: string): void {
    const text = numbered(event, this.#next++)
    this.#options.log.append(text)
    this.#options.shared?.append(text)
  }

  /** @param last one or more events, of which the last one ends the stream */
  #finish(last: string, state: FinalState): void {
    const events = eventsIn(last)
    for (const event of events.slice(0, -1)) this.#write(event)
    const text = numbered(events.at(-1) ?? last, this.#next++)
    this.#grace?.stop()
    this.#options.log.end(text)
    this.#options.shared?.end(text, state)
    this.#options.ended(state)
  }
}

/** The events of a running stream for one client of this server. */
class RunningSource implements EventSource {
  readonly #recording: Recording
  readonly #reader: LogReader
  #position: number
  #isReading = false
  #wasTrimmed = false

  constructor(recording: Recording, reader: LogReader, from: number) {
    this.#recording = recording
    this.#reader = reader
    this.#position = from
  }

  /** Whether the client has read all events and waits for more. */
  get isWaiting(): boolean {
    return this.#isReading && this.#position >= this.#recording.next
  }

  async read(): Promise<LogPart> {
    this.#isReading = true
    this.#recording.pump()
    const part = await this.#reader.read()
    this.#isReading = false
    this.#position += part.entries.length
    this.#wasTrimmed = part.state === 'trimmed'
    return part
  }

  leave(): void {
    this.#reader.leave()
    this.#recording.left(this)
  }

  end(): StreamEnd {
    return this.#wasTrimmed
      ? { outcome: 'failed', error: fellBehind() }
      : (this.#recording.end ?? { outcome: 'complete' })
  }
}
