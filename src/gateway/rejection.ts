import { type ErrorCode, StackError } from '../core/index.js'

/** The error for a request that is rejected before it reaches the stack. */
export function rejection(
  code: ErrorCode,
  status: number,
  sentence: string,
  { retryable = false, headers }: { retryable?: boolean; headers?: Record<string, string> } = {},
): StackError {
  const error = new StackError(sentence, { code, status, retryable, refused: true })
  return headers === undefined ? error : Object.assign(error, { replyHeaders: headers })
}
