import { isRecord, parseJson, type StackError } from '../../core/index.js'
import { failedChoice, isEmpty } from './choices.js'
import { readRetryAfter } from './retry-after.js'
import { upstreamError } from './upstream-error.js'

export type Headers = Readonly<Record<string, string | string[] | undefined>>

/** Headers of an answer that are safe and useful to keep, as are OpenAI's rate-limit headers. */
const KEPT_HEADERS = [
  'retry-after',
  'retry-after-ms',
  'x-request-id',
  'x-cache',
  'x-model-used',
  'x-should-retry',
  'ratelimit',
  'ratelimit-policy',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
]

/** Only bodies up to this size are searched for an error. Bytes. */
const LONGEST_ERROR = 64 * 1024

export function headerOf(headers: Headers, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

/** Upstream's request id, if it is safe to write into logs. */
export function requestIdOf(
  headers: Headers,
  apiKey: string | undefined,
  error?: unknown,
): string | undefined {
  const id = headerOf(headers, 'x-request-id') ?? (isRecord(error) ? error.requestId : undefined)
  return typeof id === 'string' && /^[\w.:-]{1,128}$/.test(id) && isClean(id, apiKey)
    ? id
    : undefined
}

/** The error for an answer whose status is not 2xx. `body` is the beginning of its body. */
export function failureOf(
  status: number,
  headers: Headers,
  body: string,
  apiKey: string | undefined,
): StackError {
  let parsed: unknown
  try {
    parsed = parseJson(withoutMark(body))
  } catch {
    // An HTML page or an empty body: only the status is known.
  }
  return describe(status, headers, parsed, apiKey)
}

/**
 * The error inside an answer with status 200, if there is one: `{"error": …}` with or without other
 * fields, an error object, or a failed choice.
 */
export function errorInside(
  data: unknown,
  headers: Headers,
  apiKey: string | undefined,
): StackError | undefined {
  const choice = failedChoice(data)
  if (choice !== undefined) {
    const { error } = isEmpty(choice.error) ? (data as Record<string, unknown>) : choice
    return failureInside({ error }, headers, apiKey)
  }
  const outer = unlisted(data)
  if (!isRecord(outer) || !(outer.error || outer.object === 'error')) return undefined
  // If there is also an answer, `error` counts only if it is an object. Routers send one with the
  // last choices of a broken stream.
  const isBesideAnswer = !isEmpty(outer.choices) || !isEmpty(outer.data)
  if (isBesideAnswer && (!isRecord(outer.error) || isEmpty(outer.error))) return undefined
  return failureInside(outer, headers, apiKey)
}

/** Whether a body is an error without a status: `{detail}` or `{errors: […]}`. */
export const isRefusal = (data: unknown): boolean =>
  isRecord(data) && (!isEmpty(data.detail) || (Array.isArray(data.errors) && !isEmpty(data.errors)))

/** The JSON error in a body labelled as image or audio: no such file begins with `{` or `[`. */
export function errorInBytes(
  bytes: Buffer,
  headers: Headers,
  apiKey: string | undefined,
): StackError | undefined {
  if (bytes.length > LONGEST_ERROR || !/^\ufeff?\s*[{[]/.test(bytes.toString('utf8', 0, 64)))
    return undefined
  try {
    return errorInside(parseJson(withoutMark(bytes.toString('utf8'))), headers, apiKey)
  } catch {
    return undefined
  }
}

/** The error for an error object inside an answer with status 200. */
export function failureInside(
  data: unknown,
  headers: Headers,
  apiKey: string | undefined,
): StackError {
  const outer = unlisted(data)
  const inner = errorObjectIn(outer)
  const status =
    statusOf(inner.status) ??
    statusOf(inner.code) ??
    statusOf(isRecord(outer) ? outer.status : undefined) ??
    STATUS_OF_CODE.get(codeIn(wordOf(outer) ?? inner, apiKey)?.toLowerCase() ?? '') ??
    502
  return describe(status, headers, data, apiKey)
}

function statusOf(code: unknown): number | undefined {
  const status = typeof code === 'string' && /^\d{3}$/.test(code) ? Number(code) : code
  return typeof status === 'number' && Number.isInteger(status) && status >= 400 && status < 600
    ? status
    : undefined
}

/** The HTTP status that an error code implies if no status is given. Codes in lower case. */
const STATUS_OF_CODE: ReadonlyMap<string, number> = new Map([
  ['bad_request', 400],
  ['invalid_request_error', 400],
  ['context_length_exceeded', 400],
  ['invalid_prompt', 400],
  ['unauthorized', 401],
  ['invalid_api_key', 401],
  ['authentication_error', 401],
  ['payment_required', 402],
  ['forbidden', 403],
  ['permission_error', 403],
  ['billing_error', 402],
  ['not_found', 404],
  ['not_found_error', 404],
  ['model_not_found', 404],
  ['unprocessable_entity', 422],
  ['rate_limited', 429],
  ['rate_limit_error', 429],
  ['rate_limit_exceeded', 429],
  ['concurrency_limit_exceeded', 429],
  ['too_many_requests', 429],
  ['service_unavailable', 503],
])

/** Unwraps an error that some servers send as a list with one item. */
const unlisted = (body: unknown): unknown =>
  Array.isArray(body) && isRecord(body[0]) && isRecord(body[0].error) ? body[0] : body

/** The error if it is a string, as in `{"error": "RATE_LIMITED"}`. */
function wordOf(body: unknown): string | undefined {
  return isRecord(body) && typeof body.error === 'string' ? body.error : undefined
}

/**
 * The object that describes the error: `error`, the first of `errors`, `detail` (FastAPI), or the
 * body itself.
 */
function errorObjectIn(body: unknown): Readonly<Record<string, unknown>> {
  if (!isRecord(body)) return {}
  const { error, errors, detail } = body
  const reported = isEmpty(error) ? (Array.isArray(errors) && errors[0]) || detail : error
  const first: unknown = Array.isArray(reported) ? reported[0] : reported
  if (isRecord(first)) return { ...first, message: first.message ?? first.msg }
  if (typeof first === 'string' && first !== error) return { message: first }
  return body
}

function describe(
  upstreamStatus: number,
  headers: Headers,
  data: unknown,
  apiKey: string | undefined,
): StackError {
  const body = unlisted(data)
  const inner = errorObjectIn(body)
  // A code at the top level counts only if the body itself is an error object.
  const named = wordOf(body) ?? (inner === body && inner.object !== 'error' ? undefined : inner)
  return upstreamError({
    ...factsOf(headers, inner, apiKey),
    upstreamStatus,
    upstreamCode: codeIn(named, apiKey),
    upstreamParam: paramOf(inner, apiKey),
    retryAfter: readRetryAfter(headers, body),
    keyGiven: apiKey !== undefined,
    shouldRetry: headerOf(headers, 'x-should-retry')?.trim().toLowerCase() !== 'false',
  })
}

const LIMIT = /^x-ratelimit-(limit|remaining|reset)-(requests|tokens)$/

/** The safe headers of an answer, except those whose value contains the key. */
export function safeHeaders(headers: Headers, apiKey: string | undefined): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name of [...KEPT_HEADERS, ...Object.keys(headers).filter((one) => LIMIT.test(one))]) {
    const value = headerOf(headers, name)
    if (value !== undefined && isClean(value, apiKey)) kept[name] = value.slice(0, 200)
  }
  return kept
}

/** Details that every failure has. */
export function factsOf(
  headers: Headers,
  error: Readonly<Record<string, unknown>>,
  apiKey: string | undefined,
) {
  const { message } = error
  return {
    requestId: requestIdOf(headers, apiKey, error),
    headers: safeHeaders(headers, apiKey),
    upstreamMessage: typeof message === 'string' ? blot(message, apiKey).slice(0, 500) : undefined,
  }
}

/**
 * Upstream's own error code. An error that is a plain string may be any text, so it is used only if
 * it looks like a code.
 */
function codeIn(error: unknown, apiKey: string | undefined): string | undefined {
  if (isRecord(error)) {
    const code = asCode(error.code, NAMED_CODE, apiKey)
    const type = asCode(error.type, NAMED_CODE, apiKey)
    // Upstream reports rejected content in `type` or in `code`; the other field is then too
    // general.
    return code === undefined || (type === REFUSED_CONTENT && !CONTENT.test(code)) ? type : code
  }
  return asCode(error, BARE_CODE, apiKey)
}

const REFUSED_CONTENT = 'safety_error'
const CONTENT = /content_(policy|filter)/

const NAMED_CODE = /^(?!\d+$)[\w.-]{1,64}$/
const BARE_CODE = /^([A-Z][A-Z0-9_]{1,63}|[a-z][a-z0-9]{0,31}(_[a-z0-9]{1,31}){1,8})$/

const asCode = (code: unknown, form: RegExp, apiKey: string | undefined): string | undefined =>
  typeof code === 'string' && form.test(code) && isClean(code, apiKey) ? code : undefined

/** The name of the invalid field that upstream reports, if it looks like a field name. */
function paramOf(
  { param, details }: Readonly<Record<string, unknown>>,
  apiKey: string | undefined,
): string | undefined {
  const named = param ?? (isRecord(details) ? details.field : undefined)
  return typeof named === 'string' &&
    /^[a-z_]\w{0,63}(\[\d{1,5}\]|\.\w{1,64}){0,8}$/i.test(named) &&
    isClean(named, apiKey)
    ? named
    : undefined
}

/** Removes the byte order mark that some servers write before their JSON. */
export const withoutMark = (text: string): string =>
  text.charCodeAt(0) === 0xfeff ? text.slice(1) : text

const isClean = (text: string, apiKey: string | undefined): boolean => blot(text, apiKey) === text

/** Masks keys, because some upstreams repeat the Authorization header in their errors. */
function blot(text: string, apiKey: string | undefined): string {
  const known = apiKey === undefined ? text : text.replaceAll(apiKey, '[key]')
  return known.replace(/\b[sp]k[_-][\w-]{4,}/g, '[key]').replace(/Bearer\s+\S+/gi, 'Bearer [key]')
}
