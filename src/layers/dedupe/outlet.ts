import {
  type Frame,
  type LogWatcher,
  type LogWriter,
  NOTHING,
  type Place,
  type Reader,
  type Shared,
  type Stream,
} from '../../core/index.js'
import { chunkEntry, endEntry, errorEntry, frameEntry, valueEntry } from './entries.js'

/** The call that an outlet belongs to. */
export interface OutletCall {
  /** Called when no other process wants the answer any more, or can get it. */
  leave(outlet: Outlet): void
}

/**
 * Represents the callers in other processes: writes the answer for them as it arrives, and keeps
 * the work going while any of them reads.
 */
export class Outlet implements Place, Reader, LogWatcher {
  /**
   * The deadlines of remote callers are unknown, so this uses that of the callers who started the
   * call.
   */
  readonly context: { readonly deadline: number }
  readonly #writer: LogWriter
  readonly #call: OutletCall
  #stream: Stream<unknown> | undefined
  #readers = 0
  #isAlone = false
  #isAsking = false
  #isOver = false

  constructor(deadline: number, writer: LogWriter, call: OutletCall) {
    this.context = { deadline }
    this.#writer = writer
    this.#call = call
    writer.watch(this)
  }

  // Methods for the call.

  answered(value: Shared): void {
    const entry = value.isOneShot ? undefined : valueEntry(value)
    if (entry === undefined) this.#abandon()
    else this.#end(entry)
  }

  failed(error: unknown): void {
    const entry = errorEntry(error)
    if (entry === undefined) this.#abandon()
    else this.#end(entry)
  }

  /** The answer is a stream. `reader` is this outlet's own cursor. */
  streams(reader: Stream<unknown>): void {
    if (this.#isOver) return reader.leave()
    this.#stream = reader
    reader.attach(this)
    this.#pace()
  }

  /** No caller in this process is left. */
  leftAlone(): void {
    this.#isAlone = true
    this.#pace()
    void this.#leaveUnread()
  }

  /** There are callers in this process again. */
  joined(): void {
    this.#isAlone = false
    this.#pace()
  }

  // Methods for the stream.

  readable(): void {
    const stream = this.#stream
    if (stream === undefined || this.#isOver) return
    if (!this.#writeChunks(stream)) return this.#abandon()
    if (!stream.isOver || stream.buffered > 0) return stream.ask()
    const failure = stream.takeFailure()
    if (failure !== undefined) this.failed(failure.error)
    else if (stream.ended?.outcome === 'complete') this.#end(endEntry(stream.ended))
    else this.#abandon()
  }

  // Methods for the log.

  readers(count: number): void {
    this.#readers = count
    this.#pace()
    if (count === 0 && this.#isAlone) void this.#leaveUnread()
  }

  lost(): void {
    this.#leave()
  }

  stopped(): void {
    // Never requested: remote readers just leave, and the call stops with the last one.
  }

  /** While no other process reads, the stream runs at the pace of the readers in this process. */
  #pace(): void {
    if (this.#stream === undefined || this.#isOver) return
    this.#stream.isPassive = this.#readers === 0 && !this.#isAlone
    this.readable()
  }

  /** Returns whether everything could be written. */
  #writeChunks(stream: Stream<unknown>): boolean {
    if (stream.log.frames) {
      for (const frame of stream.readFrames()) this.#writer.append(frameEntry(frame as Frame))
      return true
    }
    for (let chunk = stream.read(); chunk !== NOTHING; chunk = stream.read()) {
      const entry = chunkEntry(chunk)
      if (entry === undefined) return false
      this.#writer.append(entry)
    }
    return true
  }

  async #leaveUnread(): Promise<void> {
    if (this.#isAsking || this.#isOver) return
    this.#isAsking = true
    const isUnread = await this.#writer.abandonUnread()
    this.#isAsking = false
    if (isUnread) this.#leave()
  }

  #end(entry: string): void {
    if (this.#isOver) return
    this.#writer.end(entry)
    this.#leave()
  }

  #abandon(): void {
    if (this.#isOver) return
    this.#writer.abandon()
    this.#leave()
  }

  #leave(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#call.leave(this)
    this.#stream?.leave()
  }
}
