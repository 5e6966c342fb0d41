import { STATUS_CODES } from 'node:http'
import { check, isStackError, rules, type StackError } from '../core/index.js'

/** Options of `toProblem()`. */
export interface ProblemOptions {
  /** Your own id of the request, to find it again in a log. @default none */
  requestId?: string | undefined
  /** A URI reference of this one occurrence. @default none */
  instance?: string | undefined
}

/** The body of an error answer: RFC 9457 problem details with three members of ours. */
export interface ProblemBody {
  /** Always `about:blank`: the status names its kind, `code` is more exact. */
  type: string
  /** The status in words. */
  title: string
  status: number
  /** A sentence for whoever made the request. */
  detail: string
  instance?: string
  /** The error's stable code, `INTERNAL` for an error that is none of this library's. */
  code: string
  requestId?: string
  /** Fields of the request that are wrong, when the error names them. */
  errors?: { field: string; message: string }[]
}

/** An answer to give in any framework. */
export interface Problem {
  status: number
  /** `content-type`, and `retry-after` (whole seconds) when it is known. Names in lower case. */
  headers: Record<string, string>
  body: ProblemBody
}

const UNEXPECTED = 'An unexpected error occurred.'
const UNAVAILABLE = 'The service is not available at the moment.'

/** Errors that speak of the server's own account when their status is 502 or 503. */
const ACCOUNT: readonly string[] = ['AUTH', 'PAYMENT', 'FORBIDDEN']

function detailOf(error: StackError): string {
  // A wrong option concerns the operator, and its message quotes the option's value.
  if (error.code === 'CONFIG') return UNEXPECTED
  if (ACCOUNT.includes(error.code) && error.status >= 500) return UNAVAILABLE
  return error.message
}

function fieldsOf(error: StackError): { field: string; message: string }[] | undefined {
  const { errors } = error as { errors?: unknown }
  if (error.code !== 'VALIDATION' || !Array.isArray(errors)) return undefined
  // Copied member by member: an entry may carry more than a client should see.
  const fields = errors
    .filter((entry) => typeof entry?.field === 'string' && typeof entry.message === 'string')
    .map(({ field, message }) => ({ field, message }))
  return fields.length > 0 ? fields : undefined
}

/**
 * The 4xx that body parsers put on their errors, marked as safe for the client to see.
 * https://www.npmjs.com/package/http-errors
 */
function parserStatusOf(error: unknown): number | undefined {
  const { status, expose } = (error ?? {}) as { status?: unknown; expose?: unknown }
  return expose === true && typeof status === 'number' && status >= 400 && status < 500
    ? status
    : undefined
}

/**
 * Turns any error into an answer for the client of a server, without a cause, a stack or the words
 * of an error that was not expected.
 *
 * Errors of this library keep their `status`, `code` and sentence; where upstream refused the
 * server's own key or account (502, 503) the sentence is a general one. A body parser's own 4xx
 * keeps its status. Everything else, the caller's own abort included, is a 500 with the code
 * `INTERNAL`.
 *
 * @throws {ConfigError} code `CONFIG`, for a wrong option
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
  const parsers = ours === undefined ? parserStatusOf(error) : undefined
  const status =
    parsers ??
    (ours !== undefined && Number.isInteger(ours.status) && ours.status >= 400 && ours.status <= 599
      ? ours.status
      : 500)
  const body: ProblemBody = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail:
      ours !== undefined
        ? detailOf(ours)
        : parsers === undefined
          ? UNEXPECTED
          : 'The request could not be read.',
    code: ours?.code ?? (parsers === undefined ? 'INTERNAL' : 'VALIDATION'),
  }
  if (instance !== undefined) body.instance = instance
  if (requestId !== undefined) body.requestId = requestId
  const errors = ours === undefined ? undefined : fieldsOf(ours)
  if (errors !== undefined) body.errors = errors
  const wait = ours?.retryAfter
  if (wait !== undefined && Number.isFinite(wait))
    headers['retry-after'] = String(Math.max(0, Math.ceil(wait / 1000)))
  return { status, headers, body }
}

/**
 * An error inside a stream whose head has gone out already, with the same care as `toProblem`.
 * @internal
 */
export function toErrorFields(
  error: unknown,
  requestId: string | undefined,
): { code: string; message: string; requestId?: string } {
  const { code, detail } = toProblem(error).body
  return { code, message: detail, ...(requestId === undefined ? {} : { requestId }) }
}
