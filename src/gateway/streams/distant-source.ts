import { inTime, type LogPart, type LogReader, type StreamEnd } from '../../core/index.js'
import { fellBehind, ownerLost } from './errors.js'
import type { EventSource } from './followed-events.js'

/** How long `look()` waits for the first part. Milliseconds. */
export const LOOK_MS = 100

type Follow = (position: number) => Promise<LogReader | undefined | null>

/** The events of a stream that runs, or ran, on another server. */
export class DistantSource implements EventSource {
  readonly #again: Follow
  readonly #lostEvent: (position: number) => Promise<string>
  #reader: LogReader
  #position: number
  /** A read that has already been started. */
  #ahead: Promise<LogPart> | undefined
  #isLost = false
  #end: StreamEnd = { outcome: 'complete' }

  /**
   * @param again reopens the log at a position
   * @param lostEvent returns the event that reports the loss of the stream's server
   */
  constructor(
    reader: LogReader,
    position: number,
    again: Follow,
    lostEvent: (position: number) => Promise<string>,
  ) {
    this.#reader = reader
    this.#position = position
    this.#again = again
    this.#lostEvent = lostEvent
  }

  /** Checks whether there are events to read, before the client gets an answer. */
  async look(): Promise<EventSource | 'over' | 'gone' | 'unreachable'> {
    this.#ahead = this.#next()
    const part = await this.#inTime(this.#ahead)
    if (part === undefined || part.entries.length > 0 || part.state === 'open') return this
    this.leave()
    return part.state === 'ended' ? 'over' : part.state === 'trimmed' ? 'gone' : 'unreachable'
  }

  read(): Promise<LogPart> {
    const part = this.#ahead ?? this.#next()
    this.#ahead = undefined
    return part
  }

  leave(): void {
    this.#reader.leave()
  }

  end(): StreamEnd {
    return this.#end
  }

  async #next(): Promise<LogPart> {
    if (this.#isLost) return this.#afterLoss()
    return this.#took(await this.#reader.read())
  }

  #took(part: LogPart): LogPart | Promise<LogPart> {
    const { entries, state } = part
    this.#position += entries.length
    if (state === 'trimmed') this.#end = { outcome: 'failed', error: fellBehind() }
    if (state !== 'lost') return part
    this.#isLost = true
    return entries.length > 0 ? { entries, state: 'open' } : this.#afterLoss()
  }

  /** Finds out whether the stream's server was lost, or Redis was only unreachable. */
  async #afterLoss(): Promise<LogPart> {
    this.#reader.leave()
    this.#end = { outcome: 'failed', error: ownerLost() }
    const reader = await this.#again(this.#position)
    if (reader === undefined || reader === null) return { entries: [], state: 'lost' }
    this.#reader = reader
    const reading = reader.read()
    const part = await this.#inTime(reading)
    if (part?.state === 'lost' && part.entries.length === 0)
      return { entries: [await this.#lostEvent(this.#position)], state: 'ended' }
    // The log was only unreachable for a moment.
    this.#isLost = false
    this.#end = { outcome: 'complete' }
    return this.#took(part ?? (await reading))
  }

  #inTime(part: Promise<LogPart>): Promise<LogPart | undefined> {
    return inTime(
      () => part,
      LOOK_MS,
      () => undefined,
    )
  }
}
