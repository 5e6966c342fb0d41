import { jobIdOf, type UnrunReason } from '../core/index.js'
import type { BatchError, BatchResult } from './types.js'

/** A result as it is stored. */
export type KeptResult = BatchResult & { readonly requestId?: string | undefined }

const REASONS: Readonly<Record<UnrunReason, string>> = {
  lost: 'The line was given up, because its workers died repeatedly while running it.',
  cancelled: 'The batch was cancelled before the line started.',
  expired: 'The batch expired before the line started.',
}

/** The error of a line that is not run, or not run again. */
export const unrunError = (reason: UnrunReason): BatchError => ({
  code: reason,
  message: REASONS[reason],
})

const OPENAI_CODES: Readonly<Record<string, string>> = {
  cancelled: 'batch_cancelled',
  expired: 'batch_expired',
}

/**
 * A result as a line of OpenAI's output and error files.
 * @see https://platform.openai.com/docs/api-reference/batch/request-output
 */
export function toOutputLine(batch: string, result: KeptResult): string {
  const { customId, requestId } = result
  return JSON.stringify({
    id: `batch_req_${jobIdOf(batch, customId).slice(0, 32)}`,
    custom_id: customId,
    ...(result.ok
      ? { response: responseOf(200, requestId, result.answer), error: null }
      : failureOf(result.error, requestId)),
  })
}

function responseOf(status: number, requestId: string | undefined, body: unknown): object {
  return { status_code: status, request_id: requestId ?? '', body }
}

/** An error with an upstream status becomes a `response`; any other becomes an `error`. */
function failureOf(error: BatchError, requestId: string | undefined): object {
  const { code, message, upstreamStatus, upstreamCode, upstreamParam } = error
  const codeOf = OPENAI_CODES[code] ?? code.toLowerCase()
  if (upstreamStatus === undefined || upstreamStatus < 400)
    return { response: null, error: { code: codeOf, message } }
  const type = upstreamStatus < 500 ? 'invalid_request_error' : 'server_error'
  const answer = { message, type, code: upstreamCode ?? codeOf, param: upstreamParam ?? null }
  return { response: responseOf(upstreamStatus, requestId, { error: answer }), error: null }
}
