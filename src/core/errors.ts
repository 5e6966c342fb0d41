import { isOfKind, KINDS, kindsOf } from './error-kinds.js'

/**
 * Every stable `code` an error of this library can carry. A caller's own abort has none: its
 * `signal.reason` is thrown as it is.
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
  /** HTTP status to answer a client of your server with. */
  status: number
  /** Whether the same call may succeed when it is repeated. @default false */
  retryable?: boolean | undefined
  /** Whether the work was refused before it ran. @default false */
  refused?: boolean | undefined
  /** Milliseconds after which it is worth trying again, if known. */
  retryAfter?: number | undefined
  /** Name of the layer that threw. */
  layer?: string | undefined
  cause?: unknown
}

/**
 * The root of all errors this library makes.
 *
 * `instanceof` works across ESM and CommonJS copies, and so does `isStackError(error, 'TIMEOUT')`,
 * which also checks the code. `message` is a sentence for a log; it never contains a key, a prompt
 * or a body.
 */
export class StackError extends Error {
  static readonly kind: string = 'StackError'
  /** Stable, for programs. */
  readonly code: ErrorCode
  /** HTTP status to answer a client of your server with. */
  readonly status: number
  /** Whether the same call may succeed when it is repeated. */
  readonly retryable: boolean
  /** Whether the work was refused before it ran, so that nothing was spent. */
  readonly refused: boolean
  /** Milliseconds after which it is worth trying again, if known. */
  readonly retryAfter: number | undefined
  /** Name of the layer that threw; undefined when it was the base or the stack itself. */
  readonly layer: string | undefined

  constructor(message: string, options: StackErrorOptions) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = options.code
    this.status = options.status
    this.retryable = options.retryable ?? false
    this.refused = options.refused ?? false
    // Whole milliseconds, and never earlier than was meant.
    this.retryAfter = options.retryAfter === undefined ? undefined : Math.ceil(options.retryAfter)
    this.layer = options.layer
  }

  override get name(): string {
    return kindsOf(this)[0] ?? 'StackError'
  }

  override set name(value: string) {
    Object.defineProperty(this, 'name', { value, writable: true, configurable: true })
  }

  /** The names of its classes, from its own outward: what `instanceof` goes by. */
  get kinds(): string[] {
    return kindsOf(this)
  }

  /** @internal */
  get [KINDS](): readonly string[] {
    return this.kinds
  }

  /** What is safe to log or send: no cause, no stack. */
  toJSON(): Record<string, unknown> {
    const { name, code, status, message, retryable, refused, retryAfter, layer } = this
    return { name, code, status, message, retryable, refused, retryAfter, layer }
  }

  /**
   * Restores an error from what its `toJSON()` returned, for example in another worker or process:
   * `structuredClone()` keeps only an error's name, message and stack. Code, status and the other
   * fields are restored, and `isStackError(error, code)` holds; cause and stack are not restored.
   *
   * @throws ValidationError for anything that `toJSON()` did not return
   * @example port.on('message', ({ failed }) => reject(StackError.from(failed)))
   */
  static from(json: unknown): StackError {
    if (!isErrorJson(json))
      throw new ValidationError(
        'StackError.from: the argument must be what toJSON() of an error returned.',
      )
    const { name, message, ...options } = json
    // Its own fields (a time limit's `phase`) go along. `instanceof` goes by its kinds.
    const fields = Object.entries(options).map(([field, value]) => [field, { value }])
    const own = { name, kinds: [name, 'StackError'], toJSON: () => ({ ...json }) }
    const hidden = Object.entries(own).map(([field, value]) => [field, { value }])
    return Object.defineProperties(
      new StackError(message, options),
      Object.fromEntries([...fields, ...hidden]),
    )
  }

  /** Holds for this class across the ESM and CommonJS copies of the package. */
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
 * Whether `error` is one of this library's errors, and of that `code` when one is named.
 * @example if (isStackError(error, 'TIMEOUT')) response.status(504)
 */
export function isStackError(error: unknown, code?: ErrorCode): error is StackError {
  return error instanceof StackError && (code === undefined || error.code === code)
}

/** A wrong option, found when the layer or the client was made. Code `CONFIG`, status 500. */
export class ConfigError extends StackError {
  static override readonly kind: string = 'ConfigError'
  constructor(message: string, options: { layer?: string | undefined; cause?: unknown } = {}) {
    super(message, { code: 'CONFIG', status: 500, refused: true, ...options })
  }
}

/** A wrong argument of a call, found before anything was sent. Code `VALIDATION`, status 400. */
export class ValidationError extends StackError {
  static override readonly kind: string = 'ValidationError'
  constructor(message: string, options: { layer?: string | undefined; cause?: unknown } = {}) {
    super(message, { code: 'VALIDATION', status: 400, refused: true, ...options })
  }
}

/**
 * What took too long: the whole answer (`total`), a stream's first token (`first-token`), the gap
 * between two chunks (`idle`), the wait for a slot (`queue`), or the reader of a stream who never
 * began (`read`).
 */
export type TimeoutPhase = 'total' | 'first-token' | 'idle' | 'queue' | 'read'

const PHASE_WORDS: Record<TimeoutPhase, (ms: number) => string> = {
  total: (ms) => `The answer was not complete within ${ms} ms.`,
  'first-token': (ms) => `The stream's first token did not arrive within ${ms} ms.`,
  idle: (ms) => `The stream sent nothing for ${ms} ms.`,
  queue: (ms) => `The call waited ${ms} ms for its turn and never ran.`,
  read: (ms) =>
    `Nobody began to read the stream within ${ms} ms, so it was ended; read it or call return().`,
}

/** The answer was not complete in time. Code `TIMEOUT`, status 504. */
export class TimeoutError extends StackError {
  static override readonly kind: string = 'TimeoutError'
  /** The limit that was passed, in milliseconds. */
  readonly ms: number
  /** Which limit it was. */
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

/** The waiting room is full, so the call was refused at once. Code `QUEUE_FULL`, status 503. */
export class QueueFullError extends StackError {
  static override readonly kind: string = 'QueueFullError'
  /** How many calls may wait; for a call that would miss its deadline, how many wait ahead of it. */
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
        ? `Rejected: as many calls are waiting as maxWaiting allows (${limit}). Try again later, or raise maxWaiting.`
        : `Rejected: with calls queued ahead (${limit}), this call would finish about ${Math.ceil(lateMs)} ms past its deadline. Try again after that time.`
    super(sentence, { code: 'QUEUE_FULL', status: 503, refused: true, ...options })
    this.limit = limit
  }
}

/**
 * The breaker is open, so the call was refused at once. Code `BREAKER_OPEN`, status 503. Without
 * `retryAfter` it was opened by `isolate()`.
 */
export class BreakerOpenError extends StackError {
  static override readonly kind: string = 'BreakerOpenError'
  constructor(retryAfter: number | undefined, options: { layer?: string | undefined } = {}) {
    const sentence =
      retryAfter === undefined
        ? 'The breaker was opened by hand, so calls are refused until it is reset.'
        : `Too many calls have failed, so calls are refused for another ${Math.ceil(retryAfter)} ms.`
    super(sentence, { code: 'BREAKER_OPEN', status: 503, refused: true, retryAfter, ...options })
  }
}

/** The stack or client is closed or closing. Code `CLOSED`, status 503. */
export class ClosedError extends StackError {
  static override readonly kind: string = 'ClosedError'
  constructor(
    message = 'The stack is closed; make a new one.',
    { refused = true, layer }: { refused?: boolean | undefined; layer?: string | undefined } = {},
  ) {
    super(message, { code: 'CLOSED', status: 503, refused, layer })
  }
}

/** What a limit counts. */
export type LimitUnit = 'requests' | 'tokens'

/** A rate limit: ours (`refused`: it never ran), or upstream's. Code `RATE_LIMITED`, status 429. */
export class RateLimitError extends StackError {
  static override readonly kind: string = 'RateLimitError'
  /** How many `unit`s a `rateLimit()` allows in its interval; undefined of other limits. */
  readonly limit: number | undefined
  /** What a `rateLimit()` counts; undefined of other limits. */
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
 * The `cost` that a `rateLimit()` allows is used up, so the call was refused. Code `BUDGET`, status
 * 402, which clients do not repeat.
 */
export class BudgetError extends StackError {
  static override readonly kind: string = 'BudgetError'
  constructor(message: string, options: Pick<StackErrorOptions, 'retryAfter' | 'layer'> = {}) {
    super(message, { code: 'BUDGET', status: 402, refused: true, ...options })
  }
}
