import {
  type ErrorCode,
  RateLimitError,
  StackError,
  type StackErrorOptions,
} from '../core/index.js'

/** What is known of an upstream answer that was an error. */
export interface UpstreamFacts {
  /** Upstream's status, whatever `status` is for the client of a server. */
  upstreamStatus: number
  /** Upstream's own code, such as `UNPROCESSABLE_ENTITY`. */
  upstreamCode?: string | undefined
  /** The field of the request that upstream names, such as `messages[0].content`. */
  upstreamParam?: string | undefined
  /** Upstream's id of the request. */
  requestId?: string | undefined
  /** The answer's headers that are safe and of use: retry and rate limit, request id, cache. */
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
 * Upstream answered with an error. Its kinds name which; `upstreamStatus` is upstream's status,
 * `status` the one to answer the client of a server with.
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
 * 402, a quota that is used up (429), or a notice of either in an answer of 200: the balance or the
 * key's budget does not suffice. Code `PAYMENT`.
 */
export class PaymentRequiredError extends BlossomError {
  static override readonly kind: string = 'PaymentRequiredError'
}
/**
 * 403, or a notice of it in an answer of 200: the key lacks a permission or a model. Code
 * `FORBIDDEN`.
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
/** 5xx, 409, 425 and the like, and errors inside an answer of 200. Code `SERVER`; for 408 `TIMEOUT`. */
export class UpstreamError extends BlossomError {
  static override readonly kind: string = 'UpstreamError'
}

/**
 * 429 from upstream: a `RateLimitError` like the stack's own, and a `BlossomError` by its kinds.
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
  // Not enumerable, so that logging the error whole does not log what upstream may have repeated of
  // the prompt.
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
 * No answer arrived: refused, reset, unreachable, a name or certificate that failed. Code
 * `NETWORK`, status 502; `cause` is the system's error.
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

/** Bytes arrived that are no valid answer. Code `PROTOCOL`, status 502. */
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
 * An answer, or something to be sent, is larger than allowed. Code `TOO_LARGE`, status 502 for an
 * answer and 413 for a request.
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

/** A stream broke after it had begun. Code `STREAM`, status 502; `cause` is the reason. */
export class StreamError extends StackError {
  static override readonly kind: string = 'StreamError'
  /** The text that had arrived. */
  declare readonly text: string
  /** The usage that had arrived; usually none. */
  declare readonly usage: unknown
  /** The chunks that had arrived, at most the first MiB of them. */
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
    // Not enumerable: an error logged whole must not log the answer.
    for (const [name, value] of Object.entries({ text, usage, chunks }))
      Object.defineProperty(this, name, { value, enumerable: false })
  }
}
