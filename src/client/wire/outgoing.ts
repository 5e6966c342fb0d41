import { digest, stableKey, ValidationError } from '../../core/index.js'
import type { BlossomRequest } from '../types.js'
import type { Upload } from './upload.js'

/**
 * The models that upstream uses if a request names none. Requests that name them explicitly have
 * the same cache key. From Pollinations' documentation, 2026-11.
 */
export const DEFAULT_MODELS: Readonly<Record<string, string>> = {
  '/v1/chat/completions': 'openai',
  '/v1/images/generations': 'flux',
}

/**
 * Paths whose answers depend on the request alone, so that they may be cached and shared. Account
 * paths and unknown paths are not among them.
 */
const SHAREABLE =
  /^(POST \/v1\/(chat\/completions|responses|messages|completions|moderations|embeddings|images\/generations|audio\/speech)|GET \/(image|audio|text|video)\/[^?]+|GET \/(v1\/models(\/[^?]+)?|models|(text|image|audio)\/models))(\?|$)/

/** Options that few requests need. */
interface OutgoingOptions {
  /**
   * The library built the body, so callers cannot change it. It is serialized only when it is sent,
   * which a cache hit never is.
   */
  readonly isOurs?: boolean
  readonly headers?: readonly string[] | undefined
  /** Sent instead of the body, which then holds only the known fields of the upload. */
  readonly upload?: Upload | undefined
}

/**
 * A checked request on its way through the stack. Every attempt sends the same bytes.
 */
export class Outgoing implements BlossomRequest {
  readonly method: string
  readonly path: string
  readonly body: Readonly<Record<string, unknown>> | undefined
  readonly stream: boolean
  readonly accept: BlossomRequest['accept']
  /** Alternating names and values of extra headers. */
  readonly headers: readonly string[]
  readonly upload: Upload | undefined
  #payload: string | undefined
  #key: string | undefined
  #principal: string | undefined
  #identity: { key: string | undefined } | undefined

  constructor(
    method: string,
    path: string,
    body: Readonly<Record<string, unknown>> | undefined,
    accept: BlossomRequest['accept'],
    { isOurs = false, headers = [], upload }: OutgoingOptions = {},
  ) {
    this.method = method
    this.path = path
    this.body = body
    this.upload = upload
    if (body !== undefined && !isOurs && upload === undefined) this.#payload = payloadOf(body)
    this.stream = body?.stream === true
    this.accept = accept
    this.headers = headers
  }

  /**
   * Sends the request with this key instead of the client's or a pool member's.
   * @throws ValidationError if the key is invalid; the message does not show it
   */
  paidBy(key: unknown): this {
    if (typeof key !== 'string' || !/^[\x21-\x7e]+$/.test(key)) {
      throw new ValidationError(
        'The call option "apiKey" must be a string of printable ASCII characters without spaces.',
      )
    }
    this.#key = key
    this.#principal = digest(key)
    return this
  }

  /** A copy with another path or body and the same key. */
  with({
    path = this.path,
    body = this.body,
  }: {
    path?: string
    body?: Readonly<Record<string, unknown>> | undefined
  }): Outgoing {
    const request = new Outgoing(this.method, path, body, this.accept, {
      headers: this.headers,
      upload: this.upload,
    })
    return this.#key === undefined ? request : request.paidBy(this.#key)
  }

  /** The serialized body, the same for every attempt. */
  get payload(): string | undefined {
    if (this.upload !== undefined) return undefined
    if (this.#payload === undefined && this.body !== undefined) this.#payload = payloadOf(this.body)
    return this.#payload
  }

  get key(): string | undefined {
    return this.#key
  }

  /** A digest of the request's own key; `undefined` if it uses the client's. */
  get principal(): string | undefined {
    return this.#principal
  }

  /**
   * The cache key, the same whether streamed or not; `undefined` if the answer must not be shared.
   */
  get identity(): string | undefined {
    this.#identity ??= { key: this.#identify() }
    return this.#identity.key
  }

  #identify(): string | undefined {
    const { method, path, body } = this
    if (this.upload !== undefined) return undefined
    const line = `${method} ${path}`
    if (line !== 'POST /v1/chat/completions' && !SHAREABLE.test(line)) return undefined
    if (body === undefined) return line
    if (path === '/v1/responses' && needsState(body)) return undefined
    const key = stableKey(
      body.stream === undefined && body.model !== undefined ? body : asked(body, path),
    )
    return key && [line, ...this.headers, key].join('\n')
  }
}

/** A body in the form used for the cache key: with the default model, without stream options. */
function asked(body: Readonly<Record<string, unknown>>, path: string) {
  const model = body.model ?? DEFAULT_MODELS[path]
  // `stableKey` ignores undefined fields.
  return { ...body, model, stream: undefined, stream_options: undefined }
}

/** Whether a response will be stored upstream, or depends on a stored one. */
function needsState(body: Readonly<Record<string, unknown>>): boolean {
  const { store, background, previous_response_id, conversation } = body
  return Boolean(store || background || previous_response_id || conversation)
}

function payloadOf(body: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(body)
  } catch {
    throw new ValidationError(
      'The body cannot be written as JSON: it contains a cycle or a bigint.',
    )
  }
}
