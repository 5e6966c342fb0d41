import type { Dispatcher } from 'undici'
import {
  type AbortListener,
  type Context,
  isError,
  type StackError,
  UPSTREAM_PAUSE,
} from '../../core/index.js'
import { ProtocolError } from '../errors.js'
import type { BlossomAnswer, BlossomRequest } from '../types.js'
import { answerTooLarge, type BodyContext, type BodyReader, type ExchangeSettings } from './body.js'
import type { CallNote } from './call-note.js'
import { EitherForm } from './either-form.js'
import { failureOf, type Headers, headerOf } from './failure.js'
import { networkFailure } from './network-failure.js'
import { isAnsweredWithJson } from './shapes.js'
import { readPause } from './upstream-pause.js'
import { WholeAnswer } from './whole-answer.js'

/** How an answer is read, by its content type. */
type Form = 'json' | 'bytes'

/** Maximum size that is read of an error answer's body. */
const ERROR_BYTES = 64 * 1024

/**
 * Sends one request through undici's `dispatch` and reads its answer. Settles when the answer is
 * complete, or at the commit of a stream, and aborts when the context is cancelled. A handler
 * object instead of `request()` saves a Readable and a body mixin per call.
 */
export class Exchange implements Dispatcher.DispatchHandler, AbortListener, BodyContext {
  readonly answer: Promise<BlossomAnswer>
  readonly request: BlossomRequest
  readonly context: Context
  readonly settings: ExchangeSettings
  readonly note: CallNote
  headers: Headers = {}
  #resolve!: (answer: BlossomAnswer) => void
  #reject!: (error: unknown) => void
  #isSettled = false
  #controller: Dispatcher.DispatchController | undefined
  #body: BodyReader | undefined
  /** The reader of an error answer. */
  #failure: ErrorAnswer | undefined

  constructor(
    request: BlossomRequest,
    context: Context,
    settings: ExchangeSettings,
    note: CallNote,
  ) {
    this.request = request
    this.context = context
    this.settings = settings
    this.note = note
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    context.cancel.add(this)
  }

  get isSettled(): boolean {
    return this.#isSettled
  }

  // From the context.

  abort(reason: unknown): void {
    this.fail(reason)
  }

  // From undici.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#isSettled) this.cut(new Error('The call is over.'))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Headers,
  ): void {
    // Ignore informational answers (1xx).
    if (status < 200 || this.#isSettled) return
    this.headers = headers
    const { attempt } = this.context
    if (attempt !== undefined) attempt.status = status
    this.note.see(headers, this.settings.apiKey)
    const pause = readPause(headers)
    if (pause !== undefined) this.context.meta.set(UPSTREAM_PAUSE, pause)
    if (status >= 300 && status < 400)
      return this.fail(
        new ProtocolError(
          `Upstream answered with a redirect (${status}), which is not followed. Check baseURL.`,
          {
            retryable: false,
          },
        ),
      )
    if (status >= 400) {
      this.#failure = new ErrorAnswer(this, status)
      this.#body = this.#failure
    } else this.#begin(status)
  }

  onResponseData(_controller: Dispatcher.DispatchController, bytes: Buffer): void {
    this.#body?.data(bytes)
  }

  onResponseEnd(): void {
    this.#controller = undefined
    this.#body?.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    this.#controller = undefined
    // If an error answer breaks off, its status and the part that arrived are reported.
    this.fail(this.#failure?.error ?? networkFailure(error, this.settings.origin))
  }

  // For the reader of the body.

  /** Resolves the exchange. From now on the reader of the body handles cancellation. */
  settle(answer: BlossomAnswer): void {
    this.release()
    this.#resolve(answer)
  }

  /** Fails the exchange, before or after its answer began. */
  fail(error: unknown): void {
    if (this.#body?.fail(error) !== true && !this.#isSettled) {
      this.release()
      this.#reject(error)
    }
    this.cut(error)
  }

  /** Marks the exchange as settled and stops listening for cancellation. */
  release(): void {
    this.#isSettled = true
    this.context.cancel.remove(this)
  }

  /** Rejects the exchange with an error that the stream has already reported. */
  reject(error: unknown): void {
    this.#reject(error)
  }

  pause(): void {
    this.#controller?.pause()
  }

  resume(): void {
    this.#controller?.resume()
  }

  /** Closes the connection of an answer that is no longer needed. */
  cut(reason: unknown): void {
    const controller = this.#controller
    this.#controller = undefined
    controller?.abort(isError(reason) ? reason : new Error('The call was aborted.'))
  }

  #begin(status: number): void {
    const { headers, settings } = this
    const encoding = headerOf(headers, 'content-encoding')
    if (encoding !== undefined && encoding !== 'identity') {
      const sentence =
        'Upstream compressed its answer although the request asked for no compression.'
      return this.fail(new ProtocolError(sentence))
    }
    if (Number(headerOf(headers, 'content-length') ?? 0) > settings.maxResponseBytes)
      return this.fail(answerTooLarge(settings.maxResponseBytes))
    const type = headerOf(headers, 'content-type') ?? ''
    const form = formOf(this.request, type)
    if (form === undefined) {
      const sentence =
        'Upstream answered 200 with a web page, or a content type other than the one requested.'
      return this.fail(new ProtocolError(sentence))
    }
    // The fields of an uploaded form are not read, so only the content type of the answer shows
    // whether the form asked for a stream.
    const streams = this.request.upload !== undefined && /^text\/event-stream\b/i.test(type)
    this.#body =
      this.request.stream || streams
        ? new EitherForm(this, status, form === 'json')
        : new WholeAnswer(this, status, form === 'json')
  }
}

/** How to read an answer with this content type; `undefined` if the request cannot accept it. */
function formOf(request: BlossomRequest, contentType: string): Form | undefined {
  const { stream, accept } = request
  const type = contentType.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  const isJson = type === 'application/json' || type.endsWith('+json')
  if (type === 'text/html') return undefined
  // Accept a missing or wrong content type if the body can be read.
  if (stream) return isJson ? 'json' : 'bytes'
  if (accept === 'json' || isJson) return 'json'
  if (accept === 'any') return isAnsweredWithJson(request) ? 'json' : 'bytes'
  return /^(image|audio|video)\/|^application\/octet-stream$/.test(type) ? 'bytes' : undefined
}

/** Reads the error from the beginning of an answer with status 400 or above. */
class ErrorAnswer implements BodyReader {
  readonly #exchange: BodyContext
  readonly #status: number
  readonly #parts: Buffer[] = []
  #size = 0

  constructor(exchange: BodyContext, status: number) {
    this.#exchange = exchange
    this.#status = status
  }

  get error(): StackError {
    const { headers, settings } = this.#exchange
    const body = Buffer.concat(this.#parts).toString('utf8')
    return failureOf(this.#status, headers, body, settings.apiKey)
  }

  data(bytes: Buffer): void {
    if (this.#exchange.isSettled) return
    this.#parts.push(bytes)
    this.#size += bytes.length
    if (this.#size >= ERROR_BYTES) this.end()
  }

  end(): void {
    if (!this.#exchange.isSettled) this.#exchange.fail(this.error)
  }

  fail(): boolean {
    return false
  }
}
