import { STATUS_CODES } from 'node:http'
import { isError, isStackError, StreamIterator, streamFrom } from '../../core/index.js'
import { type Problem, sseHeaders, toProblem } from '../../streams/index.js'
import { isAbort } from '../../streams/source.js'
import { EventBody, type EventForm } from './event-body.js'
import type { Reply } from './message.js'
import { upstreamWords } from './upstream-words.js'
import type { EventDelivery, EventText } from './written-events.js'

/** A reply whose JSON is already text. */
export const jsonText = (body: string, status = 200): Reply => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body,
})

export const json = (body: unknown, status = 200): Reply => jsonText(JSON.stringify(body), status)

/** A reply that sends a stream as events. */
export function events<Chunk>(
  stream: StreamIterator<Chunk>,
  form: EventForm<Chunk>,
  delivery: EventDelivery,
): Reply {
  // After an abort the client has gone, so no error is written.
  const guarded: EventForm<Chunk> = {
    ...form,
    error: (failure) => (isAbort(failure, undefined) ? [] : form.error(failure)),
  }
  const body = new EventBody(
    stream as StreamIterator<unknown>,
    guarded as EventForm<never>,
    delivery,
  )
  return eventsReply(body, {})
}

/** A reply with events. */
export const eventsReply = (events: EventText, headers: Record<string, string>): Reply => ({
  status: 200,
  headers: { ...sseHeaders, ...headers },
  events,
})

/** Converts any async iterable to a stream that can be read without a promise for each chunk. */
export function streamFor<Chunk>(answer: AsyncIterable<Chunk>): StreamIterator<Chunk> {
  return answer instanceof StreamIterator
    ? answer
    : streamFrom(answer, { committed: true, lazy: true })
}

/**
 * The error format: problem details on `/generate` and the like, OpenAI's format on `/v1`,
 * Anthropic's on `/v1/messages`.
 */
export type Dialect = 'guide' | 'openai' | 'anthropic'

export interface ErrorContext {
  readonly requestId: string
  readonly dialect: Dialect
  readonly errorDetail: 'safe' | 'full'
  /**
   * Whether the caller's own key was used, so that the caller may read upstream's messages about
   * it.
   */
  readonly usesCallersKey: boolean
  /** Whether this server has already retried; clients are then asked not to retry as well. */
  readonly retried: boolean
  /** Status to use instead of the error's own. */
  readonly status?: number | undefined
}

const CALLERS_STATUS: Readonly<Record<string, number>> = {
  AUTH: 401,
  PAYMENT: 402,
  FORBIDDEN: 403,
}

/** The problem details of an error, without anything that a caller must not see. */
export function problemOf(
  error: unknown,
  context: Omit<ErrorContext, 'dialect' | 'retried'>,
): Problem {
  const { requestId, errorDetail, usesCallersKey } = context
  // A client that is still there gets a failure of the server as such.
  const { headers, body } = toProblem(isAbort(error, undefined) ? undefined : error, { requestId })
  const code = isStackError(error) ? error.code : undefined
  const ofCaller = usesCallersKey && code !== undefined ? CALLERS_STATUS[code] : undefined
  const status = context.status ?? ofCaller ?? body.status
  const showsMessage = ofCaller !== undefined || (errorDetail === 'full' && code === undefined)
  const { sentence } = errorDetail === 'full' ? upstreamWords(error, ofCaller !== undefined) : {}
  const safe = showsMessage && isError(error) ? error.message : body.detail
  const detail = sentence === undefined ? safe : `${safe} Upstream: ${sentence}`
  Object.assign(headers, (error as { replyHeaders?: Record<string, string> } | null)?.replyHeaders)
  if (status === 401) headers['www-authenticate'] ??= 'Bearer'
  return {
    status,
    headers,
    body: { ...body, status, title: STATUS_CODES[status] ?? body.title, detail },
  }
}

/** The reply for an error, if nothing has been sent yet. */
export function errorReply(error: unknown, context: ErrorContext): Reply {
  const { status, headers, body } = problemOf(error, context)
  const { dialect, retried } = context
  if (dialect === 'guide') return { status, headers, body: JSON.stringify(body) }
  headers['content-type'] = 'application/json; charset=utf-8'
  if (retried && (status === 408 || status === 409 || status === 429 || status >= 500))
    headers['x-should-retry'] = 'false'
  return {
    status,
    headers,
    body: JSON.stringify(
      dialect === 'anthropic'
        ? anthropicError(status, body.detail, context.requestId)
        : { error: openAIError(status, body.code, body.detail, error) },
    ),
  }
}

/** Anthropic's error types by status. Other statuses are `api_error`. */
const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  405: 'invalid_request_error',
  413: 'request_too_large',
  415: 'invalid_request_error',
  422: 'invalid_request_error',
  429: 'rate_limit_error',
  504: 'timeout_error',
}

/** @see https://docs.anthropic.com/en/api/errors */
export function anthropicError(status: number, message: string, requestId: string) {
  const type = ANTHROPIC_TYPES[status] ?? 'api_error'
  return { type: 'error', error: { type, message }, request_id: requestId }
}

/** The name of the field that the gateway itself rejected. */
function paramOf(error: unknown): string | undefined {
  const { param } = (error ?? {}) as { param?: unknown }
  return typeof param === 'string' && param !== '' ? param : undefined
}

/** @see https://platform.openai.com/docs/guides/error-codes */
export function openAIError(status: number, code: string, message: string, error?: unknown) {
  const type =
    status === 401
      ? 'authentication_error'
      : status === 403
        ? 'permission_error'
        : status === 429
          ? 'rate_limit_error'
          : status < 500
            ? 'invalid_request_error'
            : 'server_error'
  const words = upstreamWords(error, CALLERS_STATUS[code] === status)
  return {
    message,
    type: words.code === 'insufficient_quota' ? words.code : type,
    code: words.code ?? code.toLowerCase(),
    param: words.param ?? paramOf(error) ?? null,
  }
}
