import type { Context, StackError } from '../../core/index.js'
import { TooLargeError } from '../errors.js'
import type { BlossomAnswer, BlossomRequest, ClientNote } from '../types.js'
import type { Headers } from './failure.js'

/** Settings of an exchange. */
export interface ExchangeSettings {
  readonly maxResponseBytes: number
  /** Where the request was sent: scheme, host and port. */
  readonly origin: string
  /** The key that was sent, in order to mask it in upstream's error messages. */
  readonly apiKey: string | undefined
  /** Whether account notices sent in place of an answer are errors. */
  readonly notices: 'error' | 'pass'
}

/** Reads the body of one answer. */
export interface BodyReader {
  data(bytes: Buffer): void
  /** The body has ended without an error. */
  end(): void
  /** The exchange failed or was aborted. Returns whether this reader has reported the error. */
  fail(error: unknown): boolean
}

/** The part of an exchange that the reader of its body uses. */
export interface BodyContext {
  readonly request: BlossomRequest
  readonly context: Context
  readonly settings: ExchangeSettings
  readonly note: ClientNote
  /** Headers of the answer. */
  readonly headers: Headers
  readonly isSettled: boolean
  /** Resolves the exchange with the answer. */
  settle(answer: BlossomAnswer): void
  /** Fails the exchange, before or after its answer began. */
  fail(error: unknown): void
  /** Rejects the exchange with an error that the stream has already reported. */
  reject(error: unknown): void
  /** Stops listening for cancellation, which the stream handles from now on. */
  release(): void
  pause(): void
  resume(): void
  /** Closes the connection of an answer that is no longer needed. */
  cut(reason: unknown): void
}

export function answerTooLarge(maxResponseBytes: number): StackError {
  return new TooLargeError(
    `Upstream's answer is larger than ${maxResponseBytes} bytes. Raise maxResponseBytes to accept it.`,
    { status: 502 },
  )
}
