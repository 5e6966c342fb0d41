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
import { type EventKind, eventKind } from './completion.js'
import { errorInside, failureInside, isRefusal } from './failure.js'
import { addedText, mayBeNotice, noticeInText } from './notice.js'
import { failureIn as responseFailure } from './responses/events.js'
import { isChat, isResponses } from './shapes.js'
import { readEvents } from './sse.js'
import { progressOf, type StreamProgress } from './stream-progress.js'

/** Characters that may wait for the reader before the socket is paused, as in undici's streams. */
const AHEAD_CHARACTERS = 64 * 1024
/** Maximum size of one event, which may contain a whole image. Characters. */
const EVENT_SIZE = 8 * 1024 * 1024
/** Only events up to this length are compared with `[DONE]`, which may have blanks around it. */
const LONGEST_MARK = 16
/** How long a connection may stay open after the last event before it is closed. */
const LINGER_MS = 50

/** Reads an answer of Server-Sent Events: checks each event and appends it to the stream. */
export class EventStream implements BodyReader, StreamSource {
  readonly #exchange: BodyContext
  readonly #stream: Stream<unknown>
  readonly #read: (bytes: Buffer) => void
  readonly #isChat: boolean
  readonly #isResponses: boolean
  readonly #progress: StreamProgress
  /** Whether the first text may still be an account notice in place of an answer. */
  #mayBeNotice: boolean
  #isPaused = false
  /** Whether an unreadable event followed the complete answer. */
  #isSpoilt = false
  #usage: unknown
  /** Started at the last event. Events after it are ignored. */
  #linger: Timer | undefined

  constructor(exchange: BodyContext) {
    const { context, request, settings } = exchange
    const { cancel, base } = context
    this.#exchange = exchange
    this.#isChat = isChat(request)
    this.#isResponses = isResponses(request)
    this.#progress = progressOf(request)
    this.#mayBeNotice = mayBeNotice(exchange)
    // From here on the stream listens for cancellation and calls `stop()`.
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
    const wasCommitted = log.committed
    this.#read(bytes)
    log.flush()
    if (this.#isPaused || this.#linger !== undefined) return
    if (!wasCommitted && log.committed) this.#letReaderBegin()
    else if (!log.wants(AHEAD_CHARACTERS)) this.#pause()
  }

  /** Pauses reading until the consumer has received the first output. */
  #letReaderBegin(): void {
    this.#pause()
    queueMicrotask(() => process.nextTick(() => this.pull()))
  }

  #pause(): void {
    this.#isPaused = true
    this.#exchange.pause()
  }

  end(): void {
    this.#linger?.stop()
    if (this.#isOver) return
    if (!this.#progress.isWhole) return this.#exchange.fail(this.#unfinished())
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

  #onEvent(data: string, event: string | undefined): void {
    if (this.#isOver) return
    if (data.length <= LONGEST_MARK) {
      const mark = data.trim()
      // An empty event is a keep-alive.
      if (mark === '') return
      if (mark === '[DONE]') return this.#onDone()
    }
    let frame: Frame | undefined
    try {
      frame = Frame.read(data, event)
    } catch {
      if (event !== 'error') return this.#onText(data, event)
    }
    const kind = this.#isChat ? eventKind(frame?.value) : undefined
    const inside = this.#failureIn(frame?.value, event, kind)
    if (inside !== undefined || frame === undefined) return this.#exchange.fail(inside)
    if (kind === undefined) this.#append(frame, data.length)
    else this.#onChatEvent(frame, kind)
  }

  #failureIn(
    data: unknown,
    event: string | undefined,
    kind: EventKind | undefined,
  ): StackError | undefined {
    const { headers, settings } = this.#exchange
    const failed = this.#isResponses ? responseFailure(data) : undefined
    if (failed !== undefined) return failureInside(failed, headers, settings.apiKey)
    return event === 'error' || (kind === 'aside' && isRefusal(data))
      ? failureInside(data, headers, settings.apiKey)
      : errorInside(data, headers, settings.apiKey)
  }

  /** Handles an event that is not JSON, which only events with their own name may be. */
  #onText(data: string, event: string | undefined): void {
    if (this.#isChat && isNamed(event)) return this.#appendAside(data, event)
    this.#refuse('An event of the stream is not valid JSON.')
  }

  #onChatEvent(frame: Frame, kind: EventKind): void {
    switch (kind) {
      case 'chunk':
        return this.#append(frame, frame.text.length)
      case 'without choices':
        return this.#append(
          Frame.of({ ...(frame.value as object), choices: [] }),
          frame.text.length,
        )
      case 'aside':
        if (isNamed(frame.event)) this.#appendAside(frame.text, frame.event)
        return
      case 'invalid':
        return this.#refuse('An event of the stream is not part of a chat.')
    }
  }

  #append(frame: Frame, size: number): void {
    const chunk = frame.value
    const notice = this.#mayBeNotice ? this.#noticeIn(chunk) : undefined
    if (notice !== undefined) return this.#exchange.fail(notice)
    this.#progress.see(chunk)
    if (isRecord(chunk) && chunk.usage) this.#usage = chunk.usage
    this.#stream.log.append(frame, size)
    if (this.#progress.hasEnded) this.#onDone()
  }

  #noticeIn(chunk: unknown): StackError | undefined {
    const text = addedText(chunk)
    if (text === '') return undefined
    this.#mayBeNotice = false
    return noticeInText(text, this.#exchange)
  }

  #appendAside(data: string, event: string): void {
    this.#stream.log.append(Frame.aside(data, event), data.length)
  }

  /** Fails the stream because of an unreadable event, unless the answer is already complete. */
  #refuse(sentence: string): void {
    if (this.#isChat && this.#progress.isWhole) this.#isSpoilt = true
    else this.#exchange.fail(new ProtocolError(sentence))
  }

  #onDone(): void {
    if (!this.#progress.isWhole) return this.#exchange.fail(this.#unfinished())
    // Usually the end of the answer arrives in the same packet. If the connection stays open, it is
    // closed after a moment, so that nothing waits for it.
    this.#linger = new Timer(LINGER_MS, () =>
      this.#exchange.cut(new Error('The connection stayed open after the last event.')),
    ).unref()
    // In unknown formats a complete stream looks the same as a broken one; those are not cached.
    const cacheable = this.#progress.isWorthKeeping && !this.#isSpoilt
    this.#stream.log.end({ outcome: 'complete', cacheable })
  }

  #unfinished(): ProtocolError {
    return new ProtocolError(
      this.#isChat
        ? 'The stream ended without a finish reason for each of its choices.'
        : 'The stream ended before its last event.',
    )
  }

  /**
   * Wraps an error after the commit in a `StreamError` with the chunks that had arrived. (Aborts
   * reach the stream without passing here.)
   */
  #asStreamError(error: unknown): unknown {
    const { log } = this.#stream
    if (!log.committed || (error as StackError).code === 'TOO_LARGE') return error
    const frames = (log.kept as readonly Frame[]).filter(({ isAside }) => !isAside)
    const chunks = frames.map(({ text }) => parseJson(text))
    const why =
      error instanceof NetworkError ? 'the connection was lost.' : (error as Error).message
    return new StreamError(`The stream broke after it started: ${why}`, {
      cause: error,
      text: chunks.map(addedText).join(''),
      usage: this.#usage,
      chunks,
    })
  }
}

/** Whether an event has its own name; `message` is the default name. */
const isNamed = (event: string | undefined): event is string =>
  event !== undefined && event !== '' && event !== 'message'

const eventTooLong = () =>
  new TooLargeError(`Upstream sent one event of more than ${EVENT_SIZE} bytes.`, { status: 502 })
