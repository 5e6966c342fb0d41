import {
  Frame,
  isRecord,
  parseJson,
  type StackError,
  Stream,
  type StreamSource,
  Timer,
} from '../../core/index.js'
import { NetworkError, ProtocolError, StreamError, TooLargeError } from '../errors.js'
import type { BodyContext, BodyReader } from './body.js'
import { finishReasonOf, isChunk, textOf } from './completion.js'
import { errorInside, failureInside } from './failure.js'
import { CHAT } from './shapes.js'
import { readEvents } from './sse.js'

/** What waits for its reader before the socket is paused: as much as undici's own streams hold. */
const AHEAD_CHARACTERS = 64 * 1024
/** One event at most: models send whole images in one. Characters. */
const EVENT_SIZE = 8 * 1024 * 1024
/** How long a connection may stay open after `[DONE]` before it is cut. */
const LINGER_MS = 50

/** An answer of Server-Sent Events: judges each event as it arrives, and feeds the stream. */
export class EventStream implements BodyReader, StreamSource {
  readonly #exchange: BodyContext
  readonly #stream: Stream<unknown>
  readonly #read: (bytes: Buffer) => void
  readonly #isChat: boolean
  #isPaused = false
  #finishReason: string | undefined
  #usage: unknown
  /** Set at `[DONE]`: what comes after it is nobody's. */
  #linger: Timer | undefined

  constructor(exchange: BodyContext) {
    const { context, request, settings } = exchange
    const { cancel, base } = context
    this.#exchange = exchange
    this.#isChat = request.path === CHAT
    // From here on the stream follows the cancellation, and stops us.
    exchange.release()
    this.#stream = Stream.over<unknown>(this, {
      cancel,
      commits: base.commits,
      unreadMs: base.unreadMs,
      frames: true,
      judge: base,
    })
    this.#stream.log.ready.then(
      () => exchange.settle(this.#stream),
      (error) => exchange.reject(error),
    )
    this.#read = readEvents(
      {
        onData: (data, event) => this.#onEvent(data, event),
        onTooLong: () => exchange.fail(eventTooLong()),
      },
      Math.min(EVENT_SIZE, settings.maxResponseBytes),
    )
  }

  // From the exchange.

  data(bytes: Buffer): void {
    const { log } = this.#stream
    this.#read(bytes)
    log.flush()
    if (this.#isPaused || this.#linger !== undefined || log.wants(AHEAD_CHARACTERS)) return
    this.#isPaused = true
    this.#exchange.pause()
  }

  end(): void {
    this.#linger?.stop()
    if (this.#isOver) return
    if (this.#isIncomplete) return this.#exchange.fail(withoutFinishReason())
    this.#stream.log.end({ outcome: 'complete', cacheable: false })
  }

  fail(error: unknown): boolean {
    this.#linger?.stop()
    this.#stream.log.fail(this.#asStreamError(error))
    return true
  }

  // From the stream's reader.

  pull(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#exchange.resume()
  }

  stop(reason: unknown): void {
    this.#linger?.stop()
    this.#exchange.cut(reason ?? new Error('The reader has left.'))
  }

  get #isOver(): boolean {
    return this.#linger !== undefined || this.#stream.log.sourceEnd !== undefined
  }

  /** A chat without a finish reason has not ended. */
  get #isIncomplete(): boolean {
    return this.#isChat && this.#finishReason === undefined
  }

  #onEvent(data: string, event: string | undefined): void {
    // An event with nothing in it keeps a connection alive.
    if (data === '' || this.#isOver) return
    if (data === '[DONE]') return this.#onDone()
    const { headers, settings } = this.#exchange
    let frame: Frame | undefined
    try {
      frame = Frame.read(data, event)
    } catch {
      if (event !== 'error') {
        const sentence = 'An event of the stream is not valid JSON.'
        return this.#exchange.fail(new ProtocolError(sentence))
      }
    }
    const chunk = frame?.value
    const inside =
      event === 'error'
        ? failureInside(chunk, headers, settings.apiKey)
        : errorInside(chunk, headers, settings.apiKey)
    if (inside !== undefined || frame === undefined) return this.#exchange.fail(inside)
    if (this.#isChat && !isChunk(chunk))
      return this.#exchange.fail(new ProtocolError('An event of the stream is no part of a chat.'))
    this.#finishReason ??= finishReasonOf(chunk)
    if (isRecord(chunk) && chunk.usage) this.#usage = chunk.usage
    this.#stream.log.append(frame, data.length)
  }

  #onDone(): void {
    if (this.#isIncomplete) return this.#exchange.fail(withoutFinishReason())
    // Nearly always the connection's end is in the same packet; a connection that stays open is
    // cut, so that nothing waits for it.
    this.#linger = new Timer(LINGER_MS, () =>
      this.#exchange.cut(new Error('The connection stayed open after [DONE].')),
    ).unref()
    // What is no chat has no end that could be distinguished from a cut.
    this.#stream.log.end({ outcome: 'complete', cacheable: this.#finishReason !== undefined })
  }

  /**
   * After the commit whatever goes wrong is a broken stream, with what had arrived. (An abort
   * reaches the stream by itself.)
   */
  #asStreamError(error: unknown): unknown {
    const { log } = this.#stream
    if (!log.committed || (error as StackError).code === 'TOO_LARGE') return error
    const chunks = (log.kept as readonly Frame[]).map(({ text }) => parseJson(text))
    const why =
      error instanceof NetworkError ? 'the connection was lost.' : (error as Error).message
    return new StreamError(`The stream broke after it had begun: ${why}`, {
      cause: error,
      text: chunks.map(textOf).join(''),
      usage: this.#usage,
      chunks,
    })
  }
}

const eventTooLong = () =>
  new TooLargeError(`Upstream sent one event of more than ${EVENT_SIZE} bytes.`, { status: 502 })

const withoutFinishReason = () => new ProtocolError('The stream ended without a finish reason.')
