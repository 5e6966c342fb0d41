import type { Dispatcher } from 'undici'
import {
  type AbortListener,
  AnswerStream,
  type Context,
  type StackError,
  type StreamSource,
  Timer,
  type Transcribe,
} from '../../core/index.js'
import { NetworkError, ProtocolError, StreamError, TooLargeError } from '../errors.js'
import type { BlossomAnswer, BlossomRequest, ClientNote } from '../types.js'
import { finishReasonOf, isChunk, isCompletion, textOf, toChunks } from './completion.js'
import {
  errorInBytes,
  errorInside,
  failureInside,
  failureOf,
  type Headers,
  headerOf,
  networkFailure,
  requestIdOf,
} from './failure.js'
import { isRecord, parseJson, textOfList } from './json.js'
import { CHAT, wrongWith } from './shapes.js'
import { readEvents } from './sse.js'

/** What an exchange needs beside the request. */
export interface ExchangeSettings {
  readonly maxResponseBytes: number
  /** Never sent from here: blotted out of what upstream says. */
  readonly apiKey: string | undefined
}

type Mode = 'none' | 'error' | 'json' | 'bytes' | 'events'

const NO_HEADERS: Headers = Object.freeze({})
/** Of an error answer's body at most this much is read. */
const ERROR_BYTES = 64 * 1024
/** Chunks that wait for their reader before the socket is paused. */
const AHEAD_CHUNKS = 16
/** One event at most: models send whole images in one. */
const EVENT_BYTES = 8 * 1024 * 1024
/** What a `StreamError` remembers of the stream. */
const REMEMBERED_BYTES = 1024 * 1024
/** How long a connection may stay open after `[DONE]` before it is cut. */
const LINGER_MS = 50

/**
 * One request and its answer over undici's `dispatch`: settles at the answer, or for a stream at
 * its commit, and obeys the context to the end. A handler object instead of `request()` saves a
 * Readable and a body mixin per call.
 */
export class Exchange implements Dispatcher.DispatchHandler, AbortListener, StreamSource {
  readonly answer: Promise<BlossomAnswer>
  readonly #request: BlossomRequest
  readonly #context: Context
  readonly #settings: ExchangeSettings
  readonly #note: ClientNote
  #resolve!: (answer: BlossomAnswer) => void
  #reject!: (error: unknown) => void
  #settled = false
  #controller: Dispatcher.DispatchController | undefined
  #mode: Mode = 'none'
  #status = 0
  #headers: Headers = NO_HEADERS
  #parts: Buffer[] | undefined
  #size = 0
  #stream: AnswerStream<unknown> | undefined
  #read: ((bytes: Uint8Array) => void) | undefined
  #paused = false
  #finishReason: string | undefined
  #usage: unknown
  /** The events' data, as they came. */
  #texts: string[] | undefined
  #textBytes = 0
  #maxTextBytes = REMEMBERED_BYTES
  #isWhole = true
  #isRead = false
  #linger: Timer | undefined

  constructor(
    request: BlossomRequest,
    context: Context,
    settings: ExchangeSettings,
    note: ClientNote,
  ) {
    this.#request = request
    this.#context = context
    this.#settings = settings
    this.#note = note
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    context.cancel.add(this)
  }

  // From the context.

  abort(reason: unknown): void {
    this.#fail(reason)
  }

  // From the stream's reader.

  pull(): void {
    this.#isRead ||= this.#stream?.committed === true
    if (!this.#paused) return
    this.#paused = false
    this.#controller?.resume()
  }

  stop(reason: unknown): void {
    this.#cut(reason ?? new Error('The reader has left.'))
  }

  // From undici.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#settled) this.#cut(new Error('The call is over.'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Headers,
  ): void {
    // Informational answers come before the real one.
    if (status < 200 || this.#settled) return
    this.#status = status
    this.#headers = headers
    this.#note.requestId = requestIdOf(headers, this.#settings.apiKey)
    if (status >= 300 && status < 400) {
      return this.#fail(
        new ProtocolError(`Upstream answered with a redirect (${status}), which is not followed.`, {
          retryable: false,
        }),
      )
    }
    if (status >= 400) {
      this.#mode = 'error'
      return
    }
    const encoding = headerOf(headers, 'content-encoding')
    if (encoding !== undefined && encoding !== 'identity') {
      return this.#fail(
        new ProtocolError('Upstream compressed its answer although nobody asked it to.'),
      )
    }
    if (Number(headerOf(headers, 'content-length') ?? 0) > this.#settings.maxResponseBytes)
      return this.#fail(this.#tooLarge())
    const mode = this.#modeOf(headerOf(headers, 'content-type') ?? '')
    if (mode === undefined) {
      return this.#fail(
        new ProtocolError(
          'Upstream answered 200 with a web page or another type than was asked for.',
        ),
      )
    }
    this.#mode = mode
    if (mode === 'events') this.#openStream()
  }

  onResponseData(_controller: Dispatcher.DispatchController, bytes: Buffer): void {
    if (this.#mode === 'events') {
      this.#read?.(bytes)
      this.#holdBack()
      return
    }
    if (this.#settled) return
    this.#size += bytes.length
    if (this.#mode === 'error') {
      this.#keep(bytes)
      if (this.#size >= ERROR_BYTES) this.#fail(this.#upstreamFailure())
    } else if (this.#size > this.#settings.maxResponseBytes) this.#fail(this.#tooLarge())
    else this.#keep(bytes)
  }

  #keep(bytes: Buffer): void {
    if (this.#parts === undefined) this.#parts = [bytes]
    else this.#parts.push(bytes)
  }

  onResponseEnd(): void {
    this.#linger?.stop()
    this.#controller = undefined
    if (this.#mode === 'events') return this.#streamEnded()
    if (this.#settled) return
    if (this.#mode === 'error') return this.#fail(this.#upstreamFailure())
    if (this.#mode === 'bytes') return this.#settleBytes()
    this.#settleJson()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    this.#linger?.stop()
    this.#controller = undefined
    // An error answer that broke off has said what matters.
    this.#fail(this.#mode === 'error' ? this.#upstreamFailure() : networkFailure(error))
  }

  /**
   * Pauses the socket when the reader is slow. Before the commit nobody reads, and what is held is
   * bounded.
   */
  #holdBack(): void {
    const stream = this.#stream
    if (
      !stream?.committed ||
      stream.buffered < AHEAD_CHUNKS ||
      this.#paused ||
      this.#linger !== undefined
    )
      return
    this.#paused = true
    this.#controller?.pause()
  }

  /** Ends the exchange with an error, whatever it is at. */
  #fail(error: unknown): void {
    const stream = this.#stream
    if (stream !== undefined) stream.fail(this.#asStreamError(error))
    else if (!this.#settled) {
      this.#release()
      this.#reject(error)
    }
    this.#cut(error)
  }

  /**
   * After the commit whatever goes wrong is a broken stream, with what had arrived. (An abort
   * reaches the stream by itself.)
   */
  #asStreamError(error: unknown): unknown {
    if (!this.#stream?.committed || (error as StackError).code === 'TOO_LARGE') return error
    const chunks = (this.#texts ?? []).map(parseJson)
    const why =
      error instanceof NetworkError ? 'the connection was lost.' : (error as Error).message
    return new StreamError(`The stream broke after it had begun: ${why}`, {
      cause: error,
      text: chunks.map(textOf).join(''),
      usage: this.#usage,
      chunks,
    })
  }

  #release(): void {
    this.#settled = true
    this.#parts = undefined
    this.#context.cancel.remove(this)
  }

  /** Closes the connection under an answer that nobody wants any more. */
  #cut(reason: unknown): void {
    this.#linger?.stop()
    const controller = this.#controller
    this.#controller = undefined
    controller?.abort(reason instanceof Error ? reason : new Error('The call was aborted.'))
  }

  #upstreamFailure(): StackError {
    return failureOf(this.#status, this.#headers, this.#bodyText(), this.#settings.apiKey)
  }

  #tooLarge(): StackError {
    const { maxResponseBytes } = this.#settings
    return new TooLargeError(
      `Upstream's answer is larger than ${maxResponseBytes} bytes; raise maxResponseBytes if that is right.`,
      {
        status: 502,
      },
    )
  }

  #bodyText(): string {
    const parts = this.#parts ?? []
    // Nearly always there is one, which need not be copied.
    return (parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)).toString('utf8')
  }

  #modeOf(contentType: string): Mode | undefined {
    const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? ''
    const isJson = type === 'application/json' || type.endsWith('+json')
    if (type === 'text/html') return undefined
    const { stream, accept } = this.#request
    // A label that is missing or wrong is no reason to refuse what can be read.
    if (stream) return isJson ? 'json' : 'events'
    if (accept === 'json') return 'json'
    if (accept === 'any') return isJson ? 'json' : 'bytes'
    return isJson
      ? 'json'
      : /^(image|audio|video)\/|^application\/octet-stream$/.test(type)
        ? 'bytes'
        : undefined
  }

  #settleBytes(): void {
    if (this.#size === 0 && this.#request.accept === 'bytes')
      return this.#fail(new ProtocolError('Upstream answered 200 with nothing in it.'))
    const bytes = Buffer.concat(this.#parts ?? [])
    const inside = errorInBytes(bytes, this.#headers, this.#settings.apiKey)
    if (inside !== undefined) return this.#fail(inside)
    this.#release()
    this.#resolve({
      bytes,
      contentType: headerOf(this.#headers, 'content-type') ?? 'application/octet-stream',
      requestId: this.#note.requestId,
      ...(!('content-length' in this.#headers || 'transfer-encoding' in this.#headers) && {
        unmeasured: true as const,
      }),
    })
  }

  #settleJson(): void {
    let data: unknown
    try {
      data = parseJson(this.#bodyText())
    } catch (cause) {
      // The parser's message quotes the text.
      const what = this.#size === 0 ? 'nothing in it' : 'text that is not valid JSON'
      return this.#fail(
        new ProtocolError(`Upstream answered ${this.#status} with ${what}.`, {
          cause: new SyntaxError((cause as Error).name),
        }),
      )
    }
    const inside = errorInside(data, this.#headers, this.#settings.apiKey)
    if (inside !== undefined) return this.#fail(inside)
    if (this.#request.accept === 'bytes')
      return this.#fail(
        new ProtocolError('Upstream answered 200 with JSON where bytes were asked for.'),
      )
    const wrong = wrongWith(this.#request, data)
    if (wrong !== undefined) return this.#fail(new ProtocolError(wrong))
    if (!this.#request.stream) {
      this.#release()
      return this.#resolve({ data, requestId: this.#note.requestId })
    }
    // A whole answer where a stream was asked for: the stream has it in few chunks.
    const { unreadMs } = this.#context.base
    const chunks = isCompletion(data) ? toChunks(data) : [data]
    this.#release()
    this.#resolve(AnswerStream.of<unknown>(chunks, { cancel: this.#context.cancel, unreadMs }))
  }

  #openStream(): void {
    const { cancel, base } = this.#context
    // From here on the stream obeys the cancellation, and stops us.
    cancel.remove(this)
    const transcribe: Transcribe = (maxBytes, of) =>
      of === base ? this.#transcribe(maxBytes) : undefined
    const stream = new AnswerStream<unknown>(this, {
      cancel,
      commits: base.commits,
      unreadMs: base.unreadMs,
      transcribe,
    })
    this.#stream = stream
    stream.ready.then(() => this.#resolve(stream), this.#reject)
    this.#read = readEvents(
      {
        onData: (data, event) => this.#onEvent(data, event),
        onTooLong: () => {
          this.#fail(
            new TooLargeError(`Upstream sent one event of more than ${EVENT_BYTES} bytes.`, {
              status: 502,
            }),
          )
        },
      },
      Math.min(EVENT_BYTES, this.#settings.maxResponseBytes),
    )
  }

  #onEvent(data: string, event: string | undefined): void {
    const stream = this.#stream
    // An event with nothing in it keeps a connection alive.
    if (
      stream === undefined ||
      stream.ended !== undefined ||
      this.#linger !== undefined ||
      data === ''
    )
      return
    if (data === '[DONE]') return this.#onDone(stream)
    let chunk: unknown
    try {
      chunk = parseJson(data)
    } catch {
      if (event !== 'error')
        return this.#fail(new ProtocolError('An event of the stream is not valid JSON.'))
    }
    const { apiKey } = this.#settings
    const inside =
      event === 'error'
        ? failureInside(chunk, this.#headers, apiKey)
        : errorInside(chunk, this.#headers, apiKey)
    if (inside !== undefined) return this.#fail(inside)
    if (isChat(this.#request) && !isChunk(chunk))
      return this.#fail(new ProtocolError('An event of the stream is no part of a chat.'))
    this.#finishReason ??= finishReasonOf(chunk)
    if (isRecord(chunk) && chunk.usage) this.#usage = chunk.usage
    this.#remember(data)
    stream.push(chunk, data.length)
  }

  /** As text: the objects can go as soon as they are read. */
  #remember(data: string): void {
    this.#textBytes += data.length
    // Who wants all of it has said so by the time that the first reader waits; until then what is
    // ahead of him is bounded.
    if (this.#isRead && this.#textBytes > this.#maxTextBytes) {
      this.#isWhole = false
      return
    }
    this.#texts ??= []
    this.#texts.push(data)
  }

  #transcribe(maxBytes: number): () => string | undefined {
    this.#maxTextBytes = Math.max(this.#maxTextBytes, maxBytes)
    return () => (this.#isWhole ? textOfList(this.#texts ?? []) : undefined)
  }

  #onDone(stream: AnswerStream<unknown>): void {
    if (isChat(this.#request) && this.#finishReason === undefined) {
      return this.#fail(new ProtocolError('The stream ended without a finish reason.'))
    }
    // What is no chat has no end that could be told from a cut.
    stream.end({ outcome: 'complete', cacheable: this.#finishReason !== undefined })
    // Nearly always the connection's end is in the same packet; a connection that stays open is
    // cut, so that nothing waits for it.
    this.#linger = new Timer(LINGER_MS, () =>
      this.#cut(new Error('The connection stayed open after [DONE].')),
    ).unref()
  }

  #streamEnded(): void {
    const stream = this.#stream
    if (stream === undefined || stream.ended !== undefined || this.#linger !== undefined) return
    if (isChat(this.#request) && this.#finishReason === undefined) {
      return this.#fail(new ProtocolError('The stream ended without a finish reason.'))
    }
    stream.end({ outcome: 'complete', cacheable: false })
  }
}

function isChat({ path }: BlossomRequest): boolean {
  return path === CHAT
}
