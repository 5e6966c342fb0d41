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

/** What a recording works with. */
export interface RecordingOptions {
  /** The events as their caller sees them. */
  readonly body: EventText
  readonly call: CallSignal
  readonly log: MemoryLog
  /** The same for other servers. */
  readonly shared: SharedWriting | undefined
  /** How long it goes on without clients, by now. */
  graceMs(): number
  ended(state: FinalState): void
}

/**
 * Runs a stream for whoever reads it, and writes what its caller sees into logs. The clients that
 * are connected set its pace, the fastest of them; without any it goes on by itself for a while.
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
      // Nobody can be seen there any more.
      lost: () => {
        this.#readersElsewhere = 0
        this.attend()
      },
      stopped: () => this.stop(stoppedByClient(), 'stopped'),
    })
  }

  /** Index of the event that comes next. */
  get next(): number {
    return this.#next
  }

  /** How it has ended. */
  get end(): StreamEnd | undefined {
    return this.#end
  }

  /** The events from one on, for a client of this server. */
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

  /** Takes events as long as somebody waits for them, or nobody is connected who could. */
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

  /** Ends the stream before its end. */
  stop(error: unknown, state: FinalState = 'ended'): void {
    const { body, call, log } = this.#options
    if (log.state !== 'open') return
    // What its own client has stopped has not failed.
    this.#end = state === 'stopped' ? { outcome: 'left' } : { outcome: 'failed', error }
    this.#finish(this.#form(error), state)
    call.abort(error)
    body.leave()
  }

  /** The server closes. */
  cut(reason: unknown): void {
    this.stop(reason)
  }

  /** Looks again whether anybody is there. */
  left(source: RunningSource): void {
    if (this.#sources.delete(source)) this.attend()
  }

  /** Somebody came or went: without readers it goes on for a while. */
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

  /** @param last one event, or several of which the last one ends the stream */
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

/** A client of this server, at a stream that runs here. */
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

  /** Whether it has read all there is, and wants more. */
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
