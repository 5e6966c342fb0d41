import {
  type ErrorCode,
  RateLimitError,
  StackError,
  type StackErrorOptions,
} from '../core/index.js'

/** Details of an error that upstream answered with. */
export interface UpstreamFacts {
  /** HTTP status of upstream's answer. `status` may differ: it is the one for your own clients. */
  upstreamStatus: number
  /** Upstream's own error code, such as `UNPROCESSABLE_ENTITY`. */
  upstreamCode?: string | undefined
  /** The field of the request that upstream names, such as `messages[0].content`. */
  upstreamParam?: string | undefined
  /** Upstream's request id. */
  requestId?: string | undefined
  /** Safe headers of the answer: request id, `Retry-After`, rate limits, cache. */
  headers?: Readonly<Record<string, string>> | undefined
  /**
   * Upstream's own message, shortened and with keys masked. It may repeat the prompt, so this
   * library never logs it.
   */
  upstreamMessage?: string | undefined
}

/** @internal */
export interface UpstreamErrorOptions extends UpstreamFacts {
  code: ErrorCode
  status: number
  retryable?: boolean | undefined
  retryAfter?: number | undefined
}

/**
 * Upstream answered with an error; subclasses name the kind. `upstreamStatus` is upstream's HTTP
 * status, `status` the one with which a server should answer its own client.
 */
export class BlossomError extends StackError implements UpstreamFacts {
  static override readonly kind: string = 'BlossomError'
  declare readonly upstreamStatus: number
  declare readonly upstreamCode: string | undefined
  declare readonly upstreamParam: string | undefined
  declare readonly requestId: string | undefined
  declare readonly headers: Readonly<Record<string, string>>
  declare readonly upstreamMessage: string | undefined

  constructor(message: string, options: UpstreamErrorOptions) {
    const { code, status, retryable = false, retryAfter } = options
    super(message, { code, status, retryable, retryAfter })
    attach(this, options)
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), ...publicFacts(this) }
  }
}

/** 401: the key is missing or wrong. Code `AUTH`. */
export class AuthenticationError extends BlossomError {
  static override readonly kind: string = 'AuthenticationError'
}
/**
 * The balance or the key's budget is used up: status 402, 429 for a quota, or 200 with a notice
 * instead of an answer. Code `PAYMENT`.
 */
export class PaymentRequiredError extends BlossomError {
  static override readonly kind: string = 'PaymentRequiredError'
}
/**
 * The key lacks a permission, or access to the model: status 403, or 200 with a notice instead of
 * an answer. Code `FORBIDDEN`.
 */
export class PermissionError extends BlossomError {
  static override readonly kind: string = 'PermissionError'
}
/** 404: no such route or model. Code `NOT_FOUND`. */
export class NotFoundError extends BlossomError {
  static override readonly kind: string = 'NotFoundError'
}
/** 400, 422 and other 4xx: the request itself is wrong. Code `BAD_REQUEST`. */
export class InvalidRequestError extends BlossomError {
  static override readonly kind: string = 'InvalidRequestError'
}
/**
 * Upstream failed: 5xx, 409, 425 and similar statuses, or an error inside an answer with status
 * 200. Code `SERVER`, or `TIMEOUT` for 408.
 */
export class UpstreamError extends BlossomError {
  static override readonly kind: string = 'UpstreamError'
}

/**
 * 429 from upstream. `instanceof` reports it as a `RateLimitError` and as a `BlossomError`.
 * @internal
 */
export class UpstreamRateLimitError extends RateLimitError implements UpstreamFacts {
  declare readonly upstreamStatus: number
  declare readonly upstreamCode: string | undefined
  declare readonly upstreamParam: string | undefined
  declare readonly requestId: string | undefined
  declare readonly headers: Readonly<Record<string, string>>
  declare readonly upstreamMessage: string | undefined

  constructor(message: string, options: UpstreamErrorOptions) {
    super(message, { retryAfter: options.retryAfter, retryable: options.retryable })
    attach(this, options)
  }

  override get kinds(): string[] {
    return [...super.kinds, 'BlossomError']
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), ...publicFacts(this) }
  }
}

function attach(error: StackError, facts: UpstreamFacts): void {
  const { upstreamStatus, upstreamCode, upstreamParam, requestId, headers = {} } = facts
  Object.assign(error, { upstreamStatus, upstreamCode, upstreamParam, requestId, headers })
  // Not enumerable, so that logging the whole error does not log a prompt that upstream repeated.
  Object.defineProperty(error, 'upstreamMessage', {
    value: facts.upstreamMessage,
    enumerable: false,
  })
}

const publicFacts = (facts: UpstreamFacts) => {
  const { upstreamStatus, upstreamCode, upstreamParam, requestId } = facts
  return { upstreamStatus, upstreamCode, upstreamParam, requestId }
}

/**
 * No answer arrived: the connection was refused or reset, the host is unreachable, or its name or
 * certificate could not be verified. Code `NETWORK`, status 502; `cause` is the system's error.
 */
export class NetworkError extends StackError {
  static override readonly kind: string = 'NetworkError'
  constructor(
    message: string,
    { retryable = true, ...options }: { cause?: unknown; retryable?: boolean | undefined } = {},
  ) {
    super(message, { ...options, retryable, code: 'NETWORK', status: 502 })
  }
}

/** Upstream's answer is not valid. Code `PROTOCOL`, status 502. */
export class ProtocolError extends StackError {
  static override readonly kind: string = 'ProtocolError'
  constructor(
    message: string,
    { retryable = true, ...options }: { cause?: unknown; retryable?: boolean | undefined } = {},
  ) {
    super(message, { ...options, retryable, code: 'PROTOCOL', status: 502 })
  }
}

/**
 * An answer or a request is larger than allowed. Code `TOO_LARGE`, status 502 for an answer and 413
 * for a request.
 */
export class TooLargeError extends StackError {
  static override readonly kind: string = 'TooLargeError'
  constructor(
    message: string,
    options: Pick<StackErrorOptions, 'status'> & { refused?: boolean | undefined },
  ) {
    super(message, { ...options, code: 'TOO_LARGE' })
  }
}

/** A stream broke after its first chunk. Code `STREAM`, status 502; `cause` is the reason. */
export class StreamError extends StackError {
  static override readonly kind: string = 'StreamError'
  /** The text that had arrived before the stream broke. */
  declare readonly text: string
  /** The token usage, if it had arrived; usually `undefined`. */
  declare readonly usage: unknown
  /** The chunks that had arrived, at most their first MiB. */
  declare readonly chunks: readonly unknown[]
  constructor(
    message: string,
    {
      cause,
      text = '',
      usage,
      chunks = [],
    }: {
      cause?: unknown
      text?: string | undefined
      usage?: unknown
      chunks?: readonly unknown[] | undefined
    } = {},
  ) {
    super(message, { code: 'STREAM', status: 502, cause })
    // Not enumerable, so that logging the whole error does not log the answer.
    for (const [name, value] of Object.entries({ text, usage, chunks }))
      Object.defineProperty(this, name, { value, enumerable: false })
  }
}
