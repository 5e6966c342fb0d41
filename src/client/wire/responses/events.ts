import { isRecord } from '../../../core/index.js'
import { isEmpty } from '../choices.js'

type Fields = Readonly<Record<string, unknown>>

/** Events that report progress and contain no output. */
const BEFORE_OUTPUT: ReadonlySet<unknown> = new Set([
  'response.created',
  'response.queued',
  'response.in_progress',
])

/** Whether an event of a Responses stream contains no output. */
export const isBeforeOutput = (event: Fields): boolean => BEFORE_OUTPUT.has(event.type)

/** The response in the last event of a complete stream; `undefined` for other events. */
export function lastResponse(event: unknown): Fields | undefined {
  if (!isRecord(event) || !isRecord(event.response)) return undefined
  const { type, response } = event
  return type === 'response.completed' || type === 'response.incomplete' ? response : undefined
}

/**
 * Whether a response has ended, has output, and no content was filtered. A response that reached
 * its maximum length counts as complete, as in a chat.
 */
export function isWorthKeeping({ status, output, incomplete_details }: Fields): boolean {
  if (!Array.isArray(output) || output.length === 0) return false
  if (status === 'completed') return true
  const reason = isRecord(incomplete_details) ? incomplete_details.reason : undefined
  return status === 'incomplete' && reason !== 'content_filter'
}

/**
 * The error that an event of a Responses stream reports, as an object of the form `{ error }`;
 * `undefined` for all other events.
 */
export function failureIn(event: unknown): Fields | undefined {
  if (!isRecord(event)) return undefined
  const { type, response } = event
  // In `{ type: 'error', code, message, param }` the event itself is the error.
  if (type === 'error' && !isRecord(event.error)) {
    const { code, message, param } = event
    return { error: { code, message, param } }
  }
  if (type !== 'response.failed') return undefined
  const error = isRecord(response) ? response.error : undefined
  return { error: isEmpty(error) ? { message: 'The response failed.' } : error }
}

/** Tracks a Responses stream, which ends with the event that contains the whole response. */
export class ResponseProgress {
  #response: Fields | undefined
  #hasOutput = false

  see(event: unknown): void {
    if (!isRecord(event)) return
    this.#response ??= lastResponse(event)
    // Some servers leave the output out of the last event.
    if (event.type === 'response.output_item.done') this.#hasOutput = true
  }

  get isWhole(): boolean {
    return this.#response !== undefined
  }

  get hasEnded(): boolean {
    return this.isWhole
  }

  get isWorthKeeping(): boolean {
    const response = this.#response
    if (response === undefined) return false
    return (
      isWorthKeeping(response) || (this.#hasOutput && isWorthKeeping({ ...response, output: [1] }))
    )
  }
}
