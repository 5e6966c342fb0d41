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
  /** Upstream's id of the request. */
  requestId?: string | undefined
  /** The answer's headers that are safe and of use: retry and rate limit, request id, cache. */
  headers?: Readonly<Record<string, string>> | undefined
  /**
   * Upstream's own words, shortened, keys blotted out; they may repeat what was asked, so they are
   * in no log of ours.
   */
  upstreamMessage?: string | undefined
}

interface UpstreamErrorOptions extends UpstreamFacts {
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
/** 402: the balance or the key's budget is used up. Code `PAYMENT`. */
export class PaymentRequiredError extends BlossomError {
  static override readonly kind: string = 'PaymentRequiredError'
}
/** 403: the key lacks a permission or a model. Code `FORBIDDEN`. */
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
/** 5xx, 409 and errors inside an answer of 200. Code `SERVER`; for 408 `TIMEOUT`. */
export class UpstreamError extends BlossomError {
  static override readonly kind: string = 'UpstreamError'
}

/**
 * 429 from upstream: a `RateLimitError` like the stack's own, and a `BlossomError` by its kinds.
 */
class UpstreamRateLimitError extends RateLimitError implements UpstreamFacts {
  declare readonly upstreamStatus: number
  declare readonly upstreamCode: string | undefined
  declare readonly requestId: string | undefined
  declare readonly headers: Readonly<Record<string, string>>
  declare readonly upstreamMessage: string | undefined

  constructor(message: string, options: UpstreamErrorOptions) {
    super(message, { retryAfter: options.retryAfter })
    attach(this, options)
  }

  override get kinds(): string[] {
    return [...super.kinds, 'BlossomError']
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), ...publicFacts(this) }
  }
}

function attach(
  error: StackError,
  { upstreamStatus, upstreamCode, requestId, headers = {}, upstreamMessage }: UpstreamFacts,
): void {
  Object.assign(error, { upstreamStatus, upstreamCode, requestId, headers })
  // Not enumerable, so that logging the error whole does not log what upstream may have repeated of
  // the prompt.
  Object.defineProperty(error, 'upstreamMessage', { value: upstreamMessage, enumerable: false })
}

const publicFacts = ({ upstreamStatus, upstreamCode, requestId }: UpstreamFacts) => ({
  upstreamStatus,
  upstreamCode,
  requestId,
})

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

interface StatusMeaning {
  readonly Kind: new (message: string, options: UpstreamErrorOptions) => StackError
  readonly code: ErrorCode
  /** For the client of a server. */
  readonly status: number
  readonly retryable?: boolean
  readonly problem: string
}

const MEANINGS: Readonly<Record<number, StatusMeaning>> = {
  401: {
    Kind: AuthenticationError,
    code: 'AUTH',
    status: 502,
    problem: 'the API key is not accepted; check it.',
  },
  402: {
    Kind: PaymentRequiredError,
    code: 'PAYMENT',
    status: 503,
    problem: "the balance or the key's budget is used up.",
  },
  403: {
    Kind: PermissionError,
    code: 'FORBIDDEN',
    status: 502,
    problem: 'the API key lacks a permission or the model.',
  },
  404: {
    Kind: NotFoundError,
    code: 'NOT_FOUND',
    status: 404,
    problem: 'there is no such model or route.',
  },
  408: {
    Kind: UpstreamError,
    code: 'TIMEOUT',
    status: 504,
    retryable: true,
    problem: 'it gave up waiting; try again.',
  },
  409: {
    Kind: UpstreamError,
    code: 'SERVER',
    status: 502,
    retryable: true,
    problem: 'it conflicts with another request; try again.',
  },
  429: {
    Kind: UpstreamRateLimitError,
    code: 'RATE_LIMITED',
    status: 429,
    problem: 'the rate or concurrency limit is reached; slow down or try again later.',
  },
}

/** What every other status means. */
function meaningOf(status: number): StatusMeaning {
  if (status >= 400 && status < 500) {
    return {
      Kind: InvalidRequestError,
      code: 'BAD_REQUEST',
      status: status === 422 ? 422 : 400,
      problem: 'the request is not accepted.',
    }
  }
  return {
    Kind: UpstreamError,
    code: 'SERVER',
    status: status === 503 || status === 504 ? status : 502,
    retryable: true,
    problem: 'it failed; try again.',
  }
}

/** The error for an upstream status. */
export function upstreamError({
  keyGiven = true,
  ...facts
}: UpstreamFacts & { retryAfter?: number | undefined; keyGiven?: boolean }): StackError {
  const { upstreamStatus, upstreamCode } = facts
  const { Kind, problem, ...meaning } = MEANINGS[upstreamStatus] ?? meaningOf(upstreamStatus)
  const subject = `Upstream answered ${upstreamStatus}${upstreamCode === undefined ? '' : ` (${upstreamCode})`}`
  const remedy =
    upstreamStatus === 401 && !keyGiven
      ? 'no API key was given; pass `apiKey` to createBlossom().'
      : problem
  return new Kind(`${subject}: ${remedy}`, { ...facts, ...meaning })
}
