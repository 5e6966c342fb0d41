import { STATUS_CODES } from 'node:http'
import {
  check,
  isStackError,
  rules,
  type StackError,
  safeMessageOf,
  UNEXPECTED,
} from '../core/index.js'
import { isAbort } from './source.js'

/** Options of `toProblem()`. */
export interface ProblemOptions {
  /** Your own id of the request, to find it in a log. @default none */
  requestId?: string | undefined
  /** A URI reference that identifies this occurrence. @default none */
  instance?: string | undefined
}

/**
 * The body of an error response: RFC 9457 problem details, with additional fields `code`,
 * `requestId` and `errors`.
 */
export interface ProblemBody {
  /** Always `about:blank`: the status gives the kind of problem, and `code` is more exact. */
  type: string
  /** The name of the status. */
  title: string
  status: number
  /** A sentence for the client. */
  detail: string
  instance?: string
  /**
   * The error's stable code; `ABORTED` if the client left, and `INTERNAL` for any other error from
   * outside this library.
   */
  code: string
  requestId?: string
  /** Invalid fields of the request, if the error lists them. */
  errors?: { field: string; message: string }[]
}

/** An error response, for any framework. */
export interface Problem {
  status: number
  /** `content-type`, and `retry-after` (in whole seconds) if known. Lower-case names. */
  headers: Record<string, string>
  body: ProblemBody
}

/** As nginx logs it: the client closed the connection, so nobody reads the response. */
const ABORTED = 499

function fieldsOf(error: StackError): { field: string; message: string }[] | undefined {
  const { errors } = error as { errors?: unknown }
  if (error.code !== 'VALIDATION' || !Array.isArray(errors)) return undefined
  // Copied field by field, because an entry may contain more than a client should see.
  const fields = errors
    .filter((entry) => typeof entry?.field === 'string' && typeof entry.message === 'string')
    .map(({ field, message }) => ({ field, message }))
  return fields.length > 0 ? fields : undefined
}

/**
 * The 4xx status that a body parser has set on its error, marked as safe to show to the client.
 * https://www.npmjs.com/package/http-errors
 */
function parserStatusOf(error: unknown): number | undefined {
  const { status, expose } = (error ?? {}) as { status?: unknown; expose?: unknown }
  return expose === true && typeof status === 'number' && status >= 400 && status < 500
    ? status
    : undefined
}

/**
 * Converts any error to a response for your client. It never contains a cause, a stack, or the
 * message of an unexpected error.
 *
 * Errors of this library keep their `status`, `code` and message. When upstream rejected the
 * server's own key or account (502, 503) or could not be reached, the message is a general one. A
 * 4xx of a body parser keeps its status. An `AbortError`, the reason of the signals of clients that
 * leave, becomes 499 with code `ABORTED`: nobody reads that response, and it need not be logged.
 * Everything else becomes 500 with code `INTERNAL`.
 *
 * @throws {ConfigError} (`CONFIG`) for an invalid option
 * @example
 * app.use((error, request, response, next) => {
 *   if (response.headersSent) return next(error)
 *   const { status, headers, body } = toProblem(error, { requestId: request.id })
 *   response.status(status).set(headers).send(JSON.stringify(body))
 * })
 * @see https://www.rfc-editor.org/rfc/rfc9457 problem details;
 * https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
 */
export function toProblem(error: unknown, options?: ProblemOptions): Problem {
  const { requestId, instance } = check('toProblem', options, {
    requestId: rules.text(undefined),
    instance: rules.text(undefined),
  })
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' }
  const ours = isStackError(error) ? error : undefined
  const body = ours === undefined ? foreignBody(error) : ownBody(ours)
  if (instance !== undefined) body.instance = instance
  if (requestId !== undefined) body.requestId = requestId
  const errors = ours === undefined ? undefined : fieldsOf(ours)
  if (errors !== undefined) body.errors = errors
  const wait = ours?.retryAfter
  if (wait !== undefined && Number.isFinite(wait))
    headers['retry-after'] = String(Math.max(0, Math.ceil(wait / 1000)))
  return { status: body.status, headers, body }
}

const bodyOf = (status: number, code: string, detail: string): ProblemBody => ({
  type: 'about:blank',
  title: status === ABORTED ? 'Client Closed Request' : (STATUS_CODES[status] ?? 'Error'),
  status,
  detail,
  code,
})

function ownBody(error: StackError): ProblemBody {
  const { status, code } = error
  const isError = Number.isInteger(status) && status >= 400 && status <= 599
  return bodyOf(isError ? status : 500, code, safeMessageOf(error))
}

function foreignBody(error: unknown): ProblemBody {
  if (isAbort(error, undefined)) return bodyOf(ABORTED, 'ABORTED', 'The request was aborted.')
  const parsers = parserStatusOf(error)
  return parsers === undefined
    ? bodyOf(500, 'INTERNAL', UNEXPECTED)
    : bodyOf(parsers, 'VALIDATION', 'The request could not be read.')
}

/**
 * The fields of an error inside a stream that has already started. Reveals as little as
 * `toProblem()`.
 * @internal
 */
export function toErrorFields(
  error: unknown,
  requestId: string | undefined,
): { code: string; message: string; requestId?: string } {
  const { code, detail } = toProblem(error).body
  return { code, message: detail, ...(requestId === undefined ? {} : { requestId }) }
}
