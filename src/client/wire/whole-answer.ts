import { Frame, isRecord, Json, readText, type StackError, streamOver } from '../../core/index.js'
import { ProtocolError } from '../errors.js'
import type { BlossomAnswer, BlossomRequest } from '../types.js'
import { answerInEvents } from './answer-in-events.js'
import { answerTooLarge, type BodyContext, type BodyReader } from './body.js'
import { isWorthKeeping } from './choices.js'
import { isCompletion } from './completion.js'
import { toChunks } from './completion-to-chunks.js'
import { inTheFormAskedFor } from './embeddings.js'
import {
  errorInBytes,
  errorInside,
  failureInside,
  headerOf,
  isRefusal,
  withoutMark,
} from './failure.js'
import { mayBeNotice, noticeInAnswer, noticeInText } from './notice.js'
import { isWorthKeeping as isResponseWorthKeeping } from './responses/events.js'
import { toEvents } from './responses/to-events.js'
import { asksForUsage, EMBEDDINGS, isChat, isResponses, wrongWith } from './shapes.js'

/** Longer texts are not notices. Bytes. */
const LONGEST_NOTICE = 4_096

/** Reads an answer to its end before it is returned: JSON or bytes. */
export class WholeAnswer implements BodyReader {
  readonly #exchange: BodyContext
  readonly #status: number
  readonly #isJson: boolean
  #parts: Buffer[] = []
  #size = 0

  constructor(exchange: BodyContext, status: number, isJson: boolean) {
    this.#exchange = exchange
    this.#status = status
    this.#isJson = isJson
  }

  data(bytes: Buffer): void {
    const exchange = this.#exchange
    if (exchange.isSettled) return
    this.#parts.push(bytes)
    this.#size += bytes.length
    const { maxResponseBytes } = exchange.settings
    if (this.#size > maxResponseBytes) exchange.fail(answerTooLarge(maxResponseBytes))
  }

  end(): void {
    if (this.#exchange.isSettled) return
    if (this.#isJson) this.#settleJson()
    else this.#settleBytes()
  }

  fail(): boolean {
    this.#parts = []
    return false
  }

  /** The whole body. Usually it arrived in one piece, which need not be copied. */
  #body(): Buffer {
    const [first] = this.#parts
    return this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts)
  }

  #settleBytes(): void {
    const { request, headers, settings, note } = this.#exchange
    if (this.#size === 0 && request.accept === 'bytes')
      return this.#refuse('Upstream answered 200 with an empty body.')
    // A copy, because undici's buffer is a slice of a larger one.
    const bytes = Buffer.concat(this.#parts)
    const inside = errorInBytes(bytes, headers, settings.apiKey)
    const notice = inside ?? this.#noticeInBytes(bytes)
    if (notice !== undefined) return this.#exchange.fail(notice)
    const isMeasured = 'content-length' in headers || 'transfer-encoding' in headers
    this.#exchange.settle({
      bytes,
      contentType: headerOf(headers, 'content-type') ?? 'application/octet-stream',
      requestId: note.requestId,
      ...(!isMeasured && { unmeasured: true as const }),
    })
  }

  /** Plain text has no usage to check. */
  #noticeInBytes(bytes: Buffer): StackError | undefined {
    const { headers } = this.#exchange
    if (bytes.length > LONGEST_NOTICE || !headerOf(headers, 'content-type')?.startsWith('text/'))
      return undefined
    return mayBeNotice(this.#exchange)
      ? noticeInText(bytes.toString('utf8'), this.#exchange)
      : undefined
  }

  #settleJson(): void {
    const { request, headers, settings } = this.#exchange
    const body = withoutMark(this.#body().toString('utf8'))
    let read: ReturnType<typeof readText>
    try {
      read = this.#read(body)
    } catch (cause) {
      const what = this.#size === 0 ? 'an empty body' : 'text that is not valid JSON'
      // Leave out the parser's message, which quotes the text.
      const named = new SyntaxError((cause as Error).name)
      return this.#refuse(`Upstream answered ${this.#status} with ${what}.`, named)
    }
    const { text, value } = read
    const inside = errorInside(value, headers, settings.apiKey)
    const notice = inside ?? noticeInAnswer(value, this.#exchange)
    if (notice !== undefined) return this.#exchange.fail(notice)
    if (request.accept === 'bytes')
      return this.#refuse('Upstream answered 200 with JSON instead of the requested bytes.')
    const asked = request.path === EMBEDDINGS ? inTheFormAskedFor(request, value) : value
    const wrong = wrongWith(request, asked)
    if (wrong !== undefined && isRefusal(value))
      return this.#exchange.fail(failureInside(value, headers, settings.apiKey))
    if (wrong !== undefined) return this.#refuse(wrong)
    if (request.stream) this.#exchange.settle(this.#asStream(value))
    else this.#exchange.settle(this.#asJson(asked === value ? text : undefined, asked))
  }

  /** @throws SyntaxError if the body is neither JSON nor a complete stream of chat events */
  #read(body: string): ReturnType<typeof readText> {
    const inEvents = isChat(this.#exchange.request) ? answerInEvents(body) : undefined
    return inEvents === undefined
      ? readText(body)
      : { text: JSON.stringify(inEvents), value: inEvents }
  }

  #asJson(text: string | undefined, value: unknown): BlossomAnswer {
    return { data: new Json(text, value), requestId: this.#exchange.note.requestId }
  }

  /** Converts a whole answer to the stream that was asked for, in few chunks. */
  #asStream(value: unknown): BlossomAnswer {
    const { context, request } = this.#exchange
    const { cancel, base } = context
    const { frames, cacheable } = framesOf(request, value)
    return streamOver(
      frames,
      { outcome: 'complete', cacheable },
      { cancel, unreadMs: base.unreadMs },
    )
  }

  #refuse(sentence: string, cause?: unknown): void {
    this.#exchange.fail(new ProtocolError(sentence, cause === undefined ? {} : { cause }))
  }
}

/** The frames of a stream for a whole answer, and whether they may be cached. */
function framesOf(
  request: BlossomRequest,
  value: unknown,
): { frames: Frame[]; cacheable: boolean } {
  if (isCompletion(value)) {
    const chunks = toChunks(value, asksForUsage(request.body))
    return {
      frames: chunks.map((chunk) => Frame.of(chunk)),
      cacheable: isWorthKeeping(value.choices),
    }
  }
  if (isResponses(request) && isRecord(value))
    return { frames: toEvents(value), cacheable: isResponseWorthKeeping(value) }
  return { frames: [Frame.of(value)], cacheable: false }
}
