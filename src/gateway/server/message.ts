import { TooLargeError } from '../../client/errors.js'
import { ConfigError, isBytes, StackError, ValidationError } from '../../core/index.js'
import { isTooDeep } from './json-depth.js'
import type { PartsBody } from './parts-body.js'
import type { EventText } from './written-events.js'

/** A request as the gateway sees it, from a web `Request` or from Node's own. */
export interface Incoming {
  readonly method: string
  /** Path and query, exactly as received. */
  readonly target: string
  header(name: string): string | undefined
  /** Where it has come from, as far as the mount knows: a client, or a proxy in front. */
  readonly address?: string | undefined
  /** Aborted when the client has disconnected, or by `cut`. */
  readonly signal: AbortSignal
  cut(reason: unknown): void
  /** The request's id, where a middleware of the operator's has set one. */
  readonly givenId?: unknown
  /** What somebody further out has set as a header of the answer already. */
  already?(name: string): string | undefined
  /** The body, at most `limit` bytes of it; or what a parser further out has made of it. */
  read(limit: number): Promise<Received>
  /**
   * The body part by part, at most `limit` bytes of it. Whoever stops before its end may still
   * answer.
   */
  parts(limit: number): AsyncIterable<Uint8Array>
  /** A web `Request` without its body, for the operator's own functions. */
  readonly request: Request
}

/** A body as bytes, or parsed already by somebody else. */
export type Received = { readonly bytes: Uint8Array } | { readonly parsed: unknown }

/**
 * An answer, before it becomes a web `Response` or goes out through Node's. Header names in lower
 * case.
 */
export interface Reply {
  readonly status: number
  readonly headers: Record<string, string>
  /** Values of `set-cookie`, the one header that cannot be joined. */
  readonly cookies?: readonly string[]
  readonly body?: string | Uint8Array
  /** Instead of a body. Its class is never looked at: two copies of the library may meet here. */
  readonly events?: EventText
  /** Instead of a body: one that is too large to be held whole. */
  readonly parts?: PartsBody
}

/** A field of a request that is wrong. */
export interface FieldError {
  readonly field: string
  readonly message: string
}

/** A request whose fields are wrong: 400, and the body names each of them. */
export class FieldsError extends ValidationError {
  readonly errors: readonly FieldError[]
  /** The first of the fields. */
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

/** The error for a body of a type that the route does not take. */
export const unsupported = (sentence: string) =>
  new StackError(sentence, { code: 'VALIDATION', status: 415, refused: true })

/**
 * Refuses bytes that are compressed: unpacking them would need a limit of its own, and no client of
 * OpenAI's API sends them.
 * @see https://www.rfc-editor.org/rfc/rfc7694#section-3
 */
export function refuseCompressed(incoming: Incoming): void {
  const encoding = incoming.header('content-encoding')?.trim().toLowerCase() || 'identity'
  if (encoding === 'identity') return
  const error = unsupported('The body must not be compressed: send it without content-encoding.')
  throw Object.assign(error, { replyHeaders: { 'accept-encoding': 'identity' } })
}

/**
 * A body must be JSON: other types and compressed bodies are 415, text that does not parse is 400.
 */
export async function readJson(
  incoming: Incoming,
  limit: number,
  given?: Received,
): Promise<Record<string, unknown>> {
  if (Number(incoming.header('content-length') ?? 0) > limit) throw tooLarge(limit)
  const type = (incoming.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
  // Whoever has parsed the body: a page elsewhere can make a browser send a form or plain text, but
  // not JSON.
  if (type !== 'application/json' && !type.endsWith('+json')) {
    throw unsupported('The body must be JSON: send it with content-type application/json.')
  }
  const received = given ?? (await incoming.read(limit))
  if ('bytes' in received) {
    refuseCompressed(incoming)
    return object(parse(received.bytes, limit))
  }
  const { parsed } = received
  // Parsers for raw bodies and text leave the parsing to whoever comes after them.
  return object(
    typeof parsed === 'string' || isBytes(parsed)
      ? parse(Buffer.from(parsed as Uint8Array), limit)
      : parsed,
  )
}

/** Fails for bytes that are no UTF-8. */
const utf8 = new TextDecoder('utf-8', { fatal: true })

function parse(bytes: Uint8Array, limit: number): unknown {
  if (bytes.byteLength > limit) throw tooLarge(limit)
  if (isTooDeep(bytes)) throw new ValidationError('The body is nested too deep.')
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

/** Collects a stream of bytes up to a limit, and leaves it there. */
export async function collectBytes(
  chunks: AsyncIterable<Uint8Array>,
  limit: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of limited(chunks, limit)) parts.push(chunk)
  return Buffer.concat(parts)
}

/** A stream of bytes up to a limit: what would go beyond it fails. */
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

/** The error for a body that was read and not passed on: its log line names the remedy. */
export const bodyIsGone = () =>
  new ConfigError(
    'A parser has read the body before the gateway could: pass it on with toRequest(req, res, { body }) or the option `body`.',
  )
