/** What the hand-written routes share. */
import type { ServerResponse } from 'node:http'
import { isStackError, type Problem, StackError, toProblem } from 'blossom-stack'

/** The prompt as it came: the client checks it, like all its arguments. */
export const promptOf = (body: unknown): string =>
  (body as { prompt: string } | undefined | null)?.prompt as string

/**
 * Tells that the client has gone before the answer was complete, which ends the call upstream. The
 * request's own `close` comes too early.
 */
export function leaving(response: ServerResponse): AbortSignal {
  const controller = new AbortController()
  response.once('close', () => response.writableEnded || controller.abort())
  return controller.signal
}

/**
 * The answer for an error. Those of a body parser are not ours, but say by a status that the
 * client's body is wrong.
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
