import {
  AnswerStream,
  type Context,
  type Shared,
  StackError,
  type StreamEnd,
  type StreamReader,
  share,
  Timer,
} from '../../core/index.js'

/**
 * How far the fastest reader may be ahead of the slowest, and how much is kept for those who join
 * late.
 */
const KEPT_CHUNKS = 10_000
const KEPT_BYTES = 1024 * 1024
/**
 * How long fast readers wait for a slow one that has fallen that far behind, before it is cut off.
 */
const STALL_MS = 1_000

interface Reader {
  /** Index of the next chunk in the whole stream. */
  at: number
  gone: boolean
  stream: AnswerStream<unknown>
  wants: boolean
  /** Tells that it goes before the end. */
  leave(reason: unknown): void
}

/**
 * One stream for several readers. Each gets the whole of it, frozen: late ones first what has
 * passed, as long as that is kept. Memory is bounded: beyond the bound nobody can join, and what
 * all readers have read is dropped.
 */
export class Broadcast implements StreamReader<unknown> {
  readonly #source: AnswerStream<unknown>
  readonly #onFull: () => void
  /** Never changed, as readers come and go while they are served. */
  #readers: readonly Reader[] = []
  #log: Shared[] = []
  /** Chunks dropped from the front of the log. */
  #dropped = 0
  #bytes = 0
  #pulling = false
  #stall: Timer | undefined
  #failure: { error: unknown } | undefined
  #ended: StreamEnd | undefined

  /** @param onFull called once, when the start of the stream can no longer be kept */
  constructor(source: AnswerStream<unknown>, onFull: () => void) {
    this.#source = source
    this.#onFull = onFull
  }

  /** A reader from the first chunk on. `onLeave` is called when it goes before the end. */
  reader(context: Context, onLeave: (reason: unknown) => void): AnswerStream<unknown> {
    const reader: Reader = {
      at: this.#dropped,
      gone: false,
      wants: false,
      leave: onLeave,
      stream: new AnswerStream(
        {
          pull: () => {
            reader.wants = true
            this.#serve(reader)
          },
          stop: (reason) => {
            this.#remove(reader)
            this.#trim()
            if (!this.#isAwaited) this.#endStall()
            onLeave(reason)
          },
        },
        {
          cancel: context.cancel,
          unreadMs: context.base.unreadMs,
          committed: true,
          transcribe: this.#source.transcribe,
        },
      ),
    }
    this.#readers = [...this.#readers, reader]
    return reader.stream
  }

  /** Nobody reads any more: leaves the source as a reader would. */
  leaveSource(): void {
    void this.#source.return()
  }

  get #end(): number {
    return this.#dropped + this.#log.length
  }

  #serve(reader: Reader): void {
    if (reader.at < this.#end) {
      const chunk = this.#log[reader.at - this.#dropped]?.take()
      reader.at++
      reader.wants = false
      this.#trim()
      // The end first, or a reader that counts its chunks would have to ask once more.
      reader.stream.push(chunk)
    }
    if (reader.at === this.#end && (this.#ended !== undefined || this.#failure !== undefined))
      this.#finish(reader)
    else if (reader.wants) this.#pull()
  }

  #remove(reader: Reader): void {
    reader.gone = true
    this.#readers = this.#readers.filter((other) => other !== reader)
  }

  #finish(reader: Reader): void {
    this.#remove(reader)
    if (this.#failure !== undefined) reader.stream.fail(this.#failure.error)
    else reader.stream.end(this.#ended)
  }

  get #isFull(): boolean {
    return this.#log.length >= KEPT_CHUNKS || this.#bytes >= KEPT_BYTES
  }

  #pull(): void {
    if (this.#pulling) return
    if (this.#isFull && this.#slowestAt() < this.#end) return this.#awaitSlowest()
    this.#pulling = true
    this.#source.read(this)
  }

  /** From the source: its next chunk, or its end. */
  resolve(result: IteratorResult<unknown, undefined>): void {
    this.#pulling = false
    if (result.done) this.#ended = this.#source.ended ?? { outcome: 'complete' }
    else {
      this.#append(result.value)
      if (this.#source.ended?.outcome === 'complete') this.#ended = this.#source.ended
    }
    this.#serveAll()
  }

  /** From the source: it broke. */
  reject(error: unknown): void {
    this.#failure = { error }
    this.#serveAll()
  }

  #append(chunk: unknown): void {
    const wasFull = this.#isFull
    const shared = share(chunk)
    this.#log.push(shared)
    this.#bytes += shared.bytes
    if (!wasFull && this.#isFull && this.#dropped === 0) this.#onFull()
  }

  #serveAll(): void {
    const over = this.#ended !== undefined || this.#failure !== undefined
    for (const reader of this.#readers) {
      if (!reader.gone && (reader.wants || (over && reader.at === this.#end))) this.#serve(reader)
    }
  }

  #slowestAt(): number {
    let slowest = this.#end
    for (const { at } of this.#readers) slowest = Math.min(slowest, at)
    return slowest
  }

  /** Once full, what everybody has read is let go. */
  #trim(): void {
    if (!this.#isFull) return
    const gone = this.#slowestAt() - this.#dropped
    if (gone <= 0) return
    for (const { bytes } of this.#log.splice(0, gone)) this.#bytes -= bytes
    this.#dropped += gone
    this.#endStall()
    if (this.#isAwaited) this.#pull()
  }

  /** Whether a reader waits for the next chunk of the source. */
  get #isAwaited(): boolean {
    for (const reader of this.#readers) if (reader.wants && reader.at === this.#end) return true
    return false
  }

  #endStall(): void {
    this.#stall?.stop()
    this.#stall = undefined
  }

  #awaitSlowest(): void {
    this.#stall ??= new Timer(STALL_MS, () => {
      this.#stall = undefined
      const slowest = this.#slowestAt()
      for (const reader of this.#readers) {
        if (!reader.gone && reader.at === slowest && !reader.wants) {
          this.#remove(reader)
          const sentence =
            'The stream is shared with a faster reader and this one fell too far behind.'
          const error = new StackError(sentence, { code: 'STREAM', status: 502, layer: 'dedupe' })
          reader.stream.fail(error)
          reader.leave(error)
        }
      }
      this.#trim()
    })
  }
}
