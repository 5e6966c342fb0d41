/** Helpers of the hand-written routes. */
import type { ServerResponse } from 'node:http'
import { isStackError, type Problem, StackError, toProblem } from 'blossom-stack'

/** The prompt, unchecked: the client checks its arguments. */
export const promptOf = (body: unknown): string =>
  (body as { prompt: string } | undefined | null)?.prompt as string

/**
 * A signal that aborts if the client disconnects before the answer is complete, which aborts the
 * call upstream. It listens to the response, because `close` of the request comes too early.
 */
export function leaving(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => response.writableEnded || controller.abort())
  return controller.signal
}

/**
 * The answer for an error. Errors of a body parser have a `status` if the client's body is invalid.
 */
export function problemOf(error: unknown): Problem {
  const status = isStackError(error) ? undefined : (error as { status?: number }).status
  const isClients = status !== undefined && status >= 400 && status < 500
  return toProblem(
    isClients
      ? new StackError('The body could not be read.', { code: 'VALIDATION', status })
      : error,
  )
}
