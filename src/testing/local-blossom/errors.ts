import { wallTime } from '../../core/index.js'

/** Format of an error body. Any other string is sent as it is. */
export type ErrorShape = 'blossom' | 'openai' | 'plain-error' | 'html' | 'empty'

const SHAPES: readonly string[] = [
  'blossom',
  'openai',
  'plain-error',
  'html',
  'empty',
] satisfies ErrorShape[]

/** Whether a body names a format, rather than being the text itself. @internal */
export const isErrorShape = (body: string): boolean => SHAPES.includes(body)

/** The gateway's `error.code` by status (Pollinations gateway documentation, 2026-11). */
const CODES: Readonly<Record<number, string>> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  402: 'PAYMENT_REQUIRED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
  413: 'PAYLOAD_TOO_LARGE',
  422: 'UNPROCESSABLE_ENTITY',
  429: 'RATE_LIMITED',
  500: 'INTERNAL_ERROR',
  502: 'BAD_GATEWAY',
  503: 'SERVICE_UNAVAILABLE',
}

/** An answer with another status than 200. Can be thrown by any route. @internal */
export class Refusal extends Error {
  override name = 'Refusal'
  constructor(
    readonly status: number,
    message: string,
    readonly extra: {
      readonly details?: Readonly<Record<string, unknown>>
      readonly headers?: Readonly<Record<string, string>>
      /** Replaces the usual error body. */
      readonly body?: Readonly<Record<string, unknown>>
    } = {},
  ) {
    super(message)
  }
}

/** The content of an error body. @internal */
export interface ErrorFacts {
  readonly status: number
  readonly requestId: string
  readonly message?: string
  readonly details?: Readonly<Record<string, unknown>> | undefined
  readonly retryAfterSeconds?: number | undefined
}

/**
 * Writes an error body in a format seen from the gateway, from OpenAI, or from the proxy in front
 * of both (Pollinations gateway documentation, 2026-11).
 *
 * @internal
 */
export function errorBody(
  shape: ErrorShape | (string & {}),
  facts: ErrorFacts,
): { body: string; contentType: string } {
  const { status, requestId } = facts
  const code = CODES[status] ?? (status >= 500 ? 'INTERNAL_ERROR' : 'BAD_REQUEST')
  const message =
    facts.message ?? `The local Blossom was configured to answer with status ${status}.`
  const wait =
    facts.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: facts.retryAfterSeconds }
  const json = (value: object) => ({ body: JSON.stringify(value), contentType: 'application/json' })
  switch (shape) {
    case 'blossom':
      return json({
        status,
        success: false,
        error: {
          code,
          message,
          timestamp: new Date(wallTime()).toISOString(),
          details: facts.details ?? {},
          requestId,
        },
        ...wait,
      })
    case 'openai':
      return json({
        error: {
          message,
          type: status >= 500 ? 'server_error' : 'invalid_request_error',
          code: code.toLowerCase(),
        },
        ...wait,
      })
    case 'plain-error':
      return json({ error: status === 429 ? 'Rate limit exceeded' : code, message, ...wait })
    case 'html':
      return { body: htmlPage(status), contentType: 'text/html; charset=utf-8' }
    case 'empty':
      return { body: '', contentType: 'text/plain; charset=utf-8' }
    default:
      return {
        body: shape,
        contentType: looksLikeJson(shape) ? 'application/json' : 'text/plain; charset=utf-8',
      }
  }
}

/** An error object inside a 200 answer, in a stream or as JSON. @internal */
export function inBandError(): string {
  return JSON.stringify({
    error: {
      message: 'The provider of the model failed.',
      type: 'server_error',
      code: 'BAD_GATEWAY',
    },
  })
}

/** An HTML page as sent by the proxy in front of the gateway. @internal */
export function htmlPage(status: number): string {
  return `<!DOCTYPE html>\n<html><head><title>local Blossom | ${status}</title></head><body><h1>Error ${status}</h1></body></html>\n`
}

function looksLikeJson(text: string): boolean {
  return /^\s*[[{]/.test(text)
}
