import { TooLargeError } from '../../client/errors.js'
import { ConfigError, isBytes, StackError, ValidationError } from '../../core/index.js'
import { isTooDeep } from './json-depth.js'
import type { PartsBody } from './parts-body.js'
import type { EventText } from './written-events.js'

/** A request, made from a web `Request` or from Node's request. */
export interface Incoming {
  readonly method: string
  /** Path and query, exactly as received. */
  readonly target: string
  header(name: string): string | undefined
  /** Address of the peer, if the mount knows it: the client, or a proxy in front of the server. */
  readonly address?: string | undefined
  /** Aborts if the client disconnects, or by `cut`. */
  readonly signal: AbortSignal
  cut(reason: unknown): void
  /** The request id, if the operator's middleware has set one. */
  readonly givenId?: unknown
  /** A header of the answer that a framework or middleware has already set. */
  already?(name: string): string | undefined
  /** Reads the body, at most `limit` bytes, or returns what a framework's parser has parsed. */
  read(limit: number): Promise<Received>
  /**
   * Reads the body part by part, at most `limit` bytes. The request can still be answered if the
   * reader stops before the end.
   */
  parts(limit: number): AsyncIterable<Uint8Array>
  /** A web `Request` without its body, for the operator's own functions. */
  readonly request: Request
}

/** A body as bytes, or as parsed by a framework. */
export type Received = { readonly bytes: Uint8Array } | { readonly parsed: unknown }

/**
 * An answer, before it becomes a web `Response` or is written to Node's response. Header names are
 * in lower case.
 */
export interface Reply {
  readonly status: number
  readonly headers: Record<string, string>
  /** Values of `set-cookie`, the only header whose values cannot be joined. */
  readonly cookies?: readonly string[]
  readonly body?: string | Uint8Array
  /**
   * Events instead of a body. Not checked by `instanceof`, as two copies of the library may meet.
   */
  readonly events?: EventText
  /** Parts instead of a body that is too large for memory. */
  readonly parts?: PartsBody
}

/** An invalid field of a request. */
export interface FieldError {
  readonly field: string
  readonly message: string
}

/** A request with invalid fields. Status 400; the body names each field. */
export class FieldsError extends ValidationError {
  readonly errors: readonly FieldError[]
  /** The first invalid field. */
  readonly param: string | undefined
  constructor(errors: readonly FieldError[]) {
    super(
      `The request is not valid: ${errors.map(({ field, message }) => `${field} ${message}`).join('; ')}.`,
    )
    this.errors = errors
    this.param = errors[0]?.field
  }
}

/** The error for a body that is too large. */
export const tooLarge = (limit: number) =>
  new TooLargeError(`The body is larger than ${limit} bytes.`, { status: 413, refused: true })

/** The error for a body whose content type the route does not accept. */
export const unsupported = (sentence: string) =>
  new StackError(sentence, { code: 'VALIDATION', status: 415, refused: true })

/**
 * Rejects compressed bodies. Decompressing would need its own size limit, and no client of OpenAI's
 * API compresses.
 * @see https://www.rfc-editor.org/rfc/rfc7694#section-3
 */
export function refuseCompressed(incoming: Incoming): void {
  const encoding = incoming.header('content-encoding')?.trim().toLowerCase() || 'identity'
  if (encoding === 'identity') return
  const error = unsupported('The body must not be compressed: send it without content-encoding.')
  throw Object.assign(error, { replyHeaders: { 'accept-encoding': 'identity' } })
}

/**
 * Reads a JSON body. Other content types and compressed bodies are rejected with 415, invalid JSON
 * with 400.
 */
export async function readJson(
  incoming: Incoming,
  limit: number,
  given?: Received,
): Promise<Record<string, unknown>> {
  if (Number(incoming.header('content-length') ?? 0) > limit) throw tooLarge(limit)
  const type = (incoming.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
  // Checked even if a framework has parsed the body: pages on other origins can make a browser send
  // a form or plain text, but not JSON.
  if (type !== 'application/json' && !type.endsWith('+json')) {
    throw unsupported('The body must be JSON: send it with content-type application/json.')
  }
  const received = given ?? (await incoming.read(limit))
  if ('bytes' in received) {
    refuseCompressed(incoming)
    return object(parse(received.bytes, limit))
  }
  const { parsed } = received
  // Middleware for raw and text bodies does not parse JSON.
  return object(
    typeof parsed === 'string' || isBytes(parsed)
      ? parse(Buffer.from(parsed as Uint8Array), limit)
      : parsed,
  )
}

/** Throws if the bytes are not UTF-8. */
const utf8 = new TextDecoder('utf-8', { fatal: true })

function parse(bytes: Uint8Array, limit: number): unknown {
  if (bytes.byteLength > limit) throw tooLarge(limit)
  if (isTooDeep(bytes)) throw new ValidationError('The body is nested too deeply.')
  try {
    return JSON.parse(utf8.decode(bytes))
  } catch {
    throw new ValidationError('The body is not valid JSON.')
  }
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ValidationError('The body must be a JSON object.')
  return value as Record<string, unknown>
}

/** Collects a stream of bytes. @throws TooLargeError above the limit */
export async function collectBytes(
  chunks: AsyncIterable<Uint8Array>,
  limit: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of limited(chunks, limit)) parts.push(chunk)
  return Buffer.concat(parts)
}

/** Passes a stream of bytes through. @throws TooLargeError above the limit */
export async function* limited(
  chunks: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Uint8Array, undefined, undefined> {
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.byteLength
    if (size > limit) throw tooLarge(limit)
    yield chunk
  }
  return undefined
}

/** The error for a body that other code has read and not passed on. */
export const bodyIsGone = () =>
  new ConfigError(
    'A parser has already read the body: pass it to the gateway with toRequest(req, res, { body }) or the option `body`.',
  )
