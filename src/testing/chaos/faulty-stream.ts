import { NetworkError, StreamError } from '../../client/errors.js'
import { textOf } from '../../client/wire/completion.js'
import { type Context, type Log, Stream, type StreamSource, Timer } from '../../core/index.js'

/** The fault drawn for a stream, if any, and its pace. */
export interface StreamFault {
  readonly kind: 'cut' | 'stall' | undefined
  readonly afterChunks: number
  chunkDelayMs(): number
  happened(): void
}

/** Wraps a stream so that it fails as drawn. Reads chunk by chunk, as its reader asks. */
export function faultyStream(
  source: Stream<unknown>,
  fault: StreamFault,
  { cancel, base }: Context,
): Stream<unknown> {
  const faulty = new FaultySource(source, fault)
  const stream = Stream.over<unknown>(faulty, {
    cancel,
    unreadMs: base.unreadMs,
    committed: true,
  })
  faulty.log = stream.log
  return stream
}

class FaultySource implements StreamSource {
  log: Log<unknown> | undefined
  readonly #source: Stream<unknown>
  readonly #fault: StreamFault
  readonly #delivered: unknown[] = []
  #taken = 0
  #isPulling = false
  #timer: Timer | undefined

  constructor(source: Stream<unknown>, fault: StreamFault) {
    this.#source = source
    this.#fault = fault
  }

  pull(): void {
    if (this.#isPulling) return
    this.#isPulling = true
    const { kind, afterChunks } = this.#fault
    if (kind !== undefined && this.#taken === afterChunks) return this.#strike(kind)
    this.#source.next().then(
      (result) => {
        if (result.done) this.#sourceEnded()
        else this.#take(result.value)
      },
      (error) => this.log?.fail(error),
    )
  }

  stop(): void {
    this.#timer?.stop()
    this.#source.leave()
  }

  #take(chunk: unknown): void {
    this.#taken++
    const delayMs = this.#fault.chunkDelayMs()
    if (delayMs > 0) this.#timer = new Timer(delayMs, () => this.#deliver(chunk))
    else this.#deliver(chunk)
  }

  #deliver(chunk: unknown): void {
    this.#timer = undefined
    this.#isPulling = false
    const { kind } = this.#fault
    if (kind === 'cut') this.#delivered.push(chunk)
    this.log?.append(chunk)
    // The end comes with the last chunk, so that a reader that counts chunks need not ask again.
    const { ended } = this.#source
    if (kind === undefined && ended?.outcome === 'complete') this.log?.end(ended)
    else this.log?.flush()
  }

  #sourceEnded(): void {
    const { kind } = this.#fault
    if (kind === undefined) this.log?.end(this.#source.ended)
    else this.#strike(kind)
  }

  /** Breaks or stalls the stream, instead of the next chunk or the end. */
  #strike(kind: 'cut' | 'stall'): void {
    this.#fault.happened()
    if (kind === 'stall') return
    this.#source.leave()
    const cause = new NetworkError('The connection was cut by the chaos layer.')
    const sentence = 'The stream broke after it started: the connection was lost.'
    const text = this.#delivered.map(textOf).join('')
    this.log?.fail(new StreamError(sentence, { cause, text, chunks: this.#delivered }))
  }
}
