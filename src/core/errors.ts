import { isOfKind, KINDS, kindsOf } from './error-kinds.js'

/**
 * Every `code` that an error of this library can have. When a caller aborts, the call rejects with
 * `signal.reason` itself, which has no code.
 */
export type ErrorCode =
  | 'CONFIG'
  | 'VALIDATION'
  | 'AUTH'
  | 'PAYMENT'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'RATE_LIMITED'
  | 'BAD_REQUEST'
  | 'SERVER'
  | 'NETWORK'
  | 'TIMEOUT'
  | 'PROTOCOL'
  | 'STREAM'
  | 'TOO_LARGE'
  | 'QUEUE_FULL'
  | 'BREAKER_OPEN'
  | 'BUDGET'
  | 'CLOSED'
  | 'OWNER_LOST'
  | 'STOPPED'

export interface StackErrorOptions {
  code: ErrorCode
  /** HTTP status for the response to your own client. */
  status: number
  /** Whether the same call may succeed when repeated. @default false */
  retryable?: boolean | undefined
  /** Whether the call was rejected before it ran. @default false */
  refused?: boolean | undefined
  /** Milliseconds after which a retry makes sense, if known. */
  retryAfter?: number | undefined
  /** Name of the layer that threw the error. */
  layer?: string | undefined
  cause?: unknown
}

/**
 * The base class of all errors of this library.
 *
 * `instanceof` works across the ESM and CommonJS copies of the package, and so does
 * `isStackError(error, 'TIMEOUT')`, which also checks the code. `message` is safe to log: it never
 * contains a key, a prompt or a body.
 */
export class StackError extends Error {
  static readonly kind: string = 'StackError'
  /** Stable identifier of the problem, for programs. */
  readonly code: ErrorCode
  /** HTTP status for the response to your own client. */
  readonly status: number
  /** Whether the same call may succeed when repeated. */
  readonly retryable: boolean
  /** Whether the call was rejected before it ran, so that it cost nothing. */
  readonly refused: boolean
  /** Milliseconds after which a retry makes sense, if known. */
  readonly retryAfter: number | undefined
  /** Name of the layer that threw the error. Undefined if the base or the stack itself did. */
  readonly layer: string | undefined

  constructor(message: string, options: StackErrorOptions) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = options.code
    this.status = options.status
    this.retryable = options.retryable ?? false
    this.refused = options.refused ?? false
    // Rounded up to whole milliseconds, so that it is never too early.
    this.retryAfter = options.retryAfter === undefined ? undefined : Math.ceil(options.retryAfter)
    this.layer = options.layer
  }

  override get name(): string {
    return kindsOf(this)[0] ?? 'StackError'
  }

  override set name(value: string) {
    Object.defineProperty(this, 'name', { value, writable: true, configurable: true })
  }

  /** The names of the error's classes, its own first. `instanceof` compares these. */
  get kinds(): string[] {
    return kindsOf(this)
  }

  /** @internal */
  get [KINDS](): readonly string[] {
    return this.kinds
  }

  /** The fields that are safe to log or send. Excludes `cause` and `stack`. */
  toJSON(): Record<string, unknown> {
    const { name, code, status, message, retryable, refused, retryAfter, layer } = this
    return { name, code, status, message, retryable, refused, retryAfter, layer }
  }

  /**
   * Restores an error from the result of its `toJSON()`, for example in another worker or process,
   * where `structuredClone()` keeps only name, message and stack. Restores code, status and all
   * other fields, so that `isStackError(error, code)` works. Does not restore `cause` and `stack`.
   *
   * @throws ValidationError (`VALIDATION`) for a value that `toJSON()` did not return
   * @example port.on('message', ({ failed }) => reject(StackError.from(failed)))
   */
  static from(json: unknown): StackError {
    if (!isErrorJson(json))
      throw new ValidationError("StackError.from: pass the result of an error's toJSON().")
    const { name, message, ...options } = json
    // Restores fields of subclasses too, such as `phase`. `instanceof` compares kinds.
    const fields = Object.entries(options).map(([field, value]) => [field, { value }])
    const own = { name, kinds: [name, 'StackError'], toJSON: () => ({ ...json }) }
    const hidden = Object.entries(own).map(([field, value]) => [field, { value }])
    return Object.defineProperties(
      new StackError(message, options),
      Object.fromEntries([...fields, ...hidden]),
    )
  }

  /** Makes `instanceof` work across the ESM and CommonJS copies of the package. */
  static override [Symbol.hasInstance](
    this: { readonly kind?: string; readonly prototype: object },
    value: unknown,
  ): boolean {
    return isOfKind(value, this)
  }
}

type ErrorJson = StackErrorOptions & { readonly name: string; readonly message: string }

function isErrorJson(json: unknown): json is ErrorJson {
  const { name, message, code, status, retryAfter = 0 } = (json ?? {}) as Partial<ErrorJson>
  const texts = [name, message, code].every((field) => typeof field === 'string')
  return texts && Number.isInteger(status) && Number.isFinite(retryAfter)
}

/**
 * Returns whether `error` is an error of this library and, if `code` is given, has that code.
 * @example if (isStackError(error, 'TIMEOUT')) response.status(504)
 */
export function isStackError(error: unknown, code?: ErrorCode): error is StackError {
  return error instanceof StackError && (code === undefined || error.code === code)
}

/** An invalid option, found when a layer or the client is created. Code `CONFIG`, status 500. */
export class ConfigError extends StackError {
  static override readonly kind: string = 'ConfigError'
  constructor(message: string, options: { layer?: string | undefined; cause?: unknown } = {}) {
    super(message, { code: 'CONFIG', status: 500, refused: true, ...options })
  }
}

/** An invalid argument of a call, found before anything is sent. Code `VALIDATION`, status 400. */
export class ValidationError extends StackError {
  static override readonly kind: string = 'ValidationError'
  constructor(message: string, options: { layer?: string | undefined; cause?: unknown } = {}) {
    super(message, { code: 'VALIDATION', status: 400, refused: true, ...options })
  }
}

/**
 * What took too long: the whole answer (`total`), the first token of a stream (`first-token`), the
 * gap between two chunks (`idle`), the wait for a slot (`queue`), or a reader that never started to
 * read (`read`).
 */
export type TimeoutPhase = 'total' | 'first-token' | 'idle' | 'queue' | 'read'

const PHASE_WORDS: Record<TimeoutPhase, (ms: number) => string> = {
  total: (ms) => `The answer was not complete within ${ms} ms.`,
  'first-token': (ms) => `The stream's first token did not arrive within ${ms} ms.`,
  idle: (ms) => `The stream sent nothing for ${ms} ms.`,
  queue: (ms) =>
    `Rejected: the call waited ${ms} ms for its turn and never ran. Retry later, or allow a longer wait.`,
  read: (ms) =>
    `The stream was ended because nobody started to read it within ${ms} ms. Read it, or call return() if it is not needed.`,
}

/** A time limit passed before the answer was complete. Code `TIMEOUT`, status 504. */
export class TimeoutError extends StackError {
  static override readonly kind: string = 'TimeoutError'
  /** The limit, in milliseconds. */
  readonly ms: number
  /** What the limit applied to. */
  readonly phase: TimeoutPhase
  constructor(
    ms: number,
    options: { phase?: TimeoutPhase | undefined; layer?: string | undefined; cause?: unknown } = {},
  ) {
    const { phase = 'total', ...rest } = options
    const rounded = Math.round(ms)
    const waited = phase === 'queue'
    super(PHASE_WORDS[phase](rounded), {
      code: 'TIMEOUT',
      status: 504,
      retryable: !waited && phase !== 'read',
      refused: waited,
      ...rest,
    })
    this.ms = rounded
    this.phase = phase
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), ms: this.ms, phase: this.phase }
  }
}

/** Too many calls wait, or the call would miss its deadline. Code `QUEUE_FULL`, status 503. */
export class QueueFullError extends StackError {
  static override readonly kind: string = 'QueueFullError'
  /** How many calls may wait. If the call would miss its deadline: how many wait ahead of it. */
  readonly limit: number
  constructor(
    limit: number,
    {
      lateMs,
      ...options
    }: {
      layer?: string | undefined
      retryAfter?: number | undefined
      lateMs?: number | undefined
    } = {},
  ) {
    const sentence =
      lateMs === undefined
        ? `Rejected: the maximum number of waiting calls (maxWaiting: ${limit}) is reached. Retry later, or raise maxWaiting.`
        : `Rejected: with ${limit} call${limit === 1 ? '' : 's'} queued ahead, this call would finish about ${Math.ceil(lateMs)} ms past its deadline. Retry after ${Math.ceil(lateMs)} ms.`
    super(sentence, { code: 'QUEUE_FULL', status: 503, refused: true, ...options })
    this.limit = limit
  }
}

/**
 * The circuit is open, so the call was rejected. Code `BREAKER_OPEN`, status 503. `retryAfter` is
 * undefined when `isolate()` opened the circuit.
 */
export class BreakerOpenError extends StackError {
  static override readonly kind: string = 'BreakerOpenError'
  constructor(retryAfter: number | undefined, options: { layer?: string | undefined } = {}) {
    const sentence =
      retryAfter === undefined
        ? 'Rejected: the circuit was opened with isolate(). Calls are rejected until reset().'
        : `Rejected: the circuit is open because too many calls have failed. Retry after ${Math.ceil(retryAfter)} ms.`
    super(sentence, { code: 'BREAKER_OPEN', status: 503, refused: true, retryAfter, ...options })
  }
}

/** The stack or client is closed or closing. Code `CLOSED`, status 503. */
export class ClosedError extends StackError {
  static override readonly kind: string = 'ClosedError'
  constructor(
    message = 'The stack is closed. Create a new one.',
    { refused = true, layer }: { refused?: boolean | undefined; layer?: string | undefined } = {},
  ) {
    super(message, { code: 'CLOSED', status: 503, refused, layer })
  }
}

/** What a limit counts. */
export type LimitUnit = 'requests' | 'tokens'

/** A rate limit: your own (`refused` is true) or upstream's. Code `RATE_LIMITED`, status 429. */
export class RateLimitError extends StackError {
  static override readonly kind: string = 'RateLimitError'
  /** How many `unit`s the `rateLimit()` allows per interval. Undefined for other limits. */
  readonly limit: number | undefined
  /** What the `rateLimit()` counts. Undefined for other limits. */
  readonly unit: LimitUnit | undefined
  constructor(
    message: string,
    options: Omit<StackErrorOptions, 'code' | 'status'> & {
      limit?: number | undefined
      unit?: LimitUnit | undefined
    } = {},
  ) {
    const { retryable = true, limit, unit, ...rest } = options
    super(message, { ...rest, retryable, code: 'RATE_LIMITED', status: 429 })
    this.limit = limit
    this.unit = unit
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), ...(this.unit && { limit: this.limit, unit: this.unit }) }
  }
}

/**
 * The `cost` limit of a `rateLimit()` is used up, so the call was rejected. Code `BUDGET`, status
 * 402, which clients do not retry.
 */
export class BudgetError extends StackError {
  static override readonly kind: string = 'BudgetError'
  constructor(message: string, options: Pick<StackErrorOptions, 'retryAfter' | 'layer'> = {}) {
    super(message, { code: 'BUDGET', status: 402, refused: true, ...options })
  }
}
