import type { Context, StackError } from '../../core/index.js'
import { TooLargeError } from '../errors.js'
import type { BlossomAnswer, BlossomRequest, ClientNote } from '../types.js'
import type { Headers } from './failure.js'

/** What an exchange needs beside the request. */
export interface ExchangeSettings {
  readonly maxResponseBytes: number
  /** Never sent from here: removed from what upstream reports. */
  readonly apiKey: string | undefined
  /** Whether notices about the account that come as answers are errors. */
  readonly notices: 'error' | 'pass'
}

/** Takes the body of one answer. */
export interface BodyReader {
  data(bytes: Buffer): void
  /** The body has ended in due form. */
  end(): void
  /** The exchange failed, or was aborted. Returns whether the body reader has reported it. */
  fail(error: unknown): boolean
}

/** The exchange that a body belongs to, as the reader of the body sees it. */
export interface BodyContext {
  readonly request: BlossomRequest
  readonly context: Context
  readonly settings: ExchangeSettings
  readonly note: ClientNote
  /** Of the answer. */
  readonly headers: Headers
  readonly isSettled: boolean
  /** The answer is there. */
  settle(answer: BlossomAnswer): void
  /** Ends the exchange with an error, wherever it is. */
  fail(error: unknown): void
  /** Rejects the answer with what the stream has failed with. */
  reject(error: unknown): void
  /** From now on the stream follows the context's cancellation. */
  release(): void
  pause(): void
  resume(): void
  /** Closes the connection under an answer that nobody wants any more. */
  cut(reason: unknown): void
}

export function answerTooLarge(maxResponseBytes: number): StackError {
  return new TooLargeError(
    `Upstream's answer is larger than ${maxResponseBytes} bytes; raise maxResponseBytes if that is right.`,
    { status: 502 },
  )
}
