import type { ServerSentEvent } from '../../streams/event-frame.js'
import { errorFor } from '../routes/forward.js'
import type { EventForm } from '../server/event-body.js'
import { Translation } from './answer/translation.js'

type Fields = Readonly<Record<string, unknown>>

const asEvents = (list: readonly Fields[]): readonly ServerSentEvent[] =>
  list.map((event) => ({ event: String(event.type), data: JSON.stringify(event) }))

/** Translates the chunks of a chat to the events of a response. */
export function translatedEvents(body: Fields, requestId: string): EventForm<unknown> {
  const translation = new Translation(body)
  return {
    events: (chunk) => asEvents(translation.chunk(chunk)),
    end: () => asEvents(translation.end()),
    error: (failure) => asEvents(translation.failed(errorFor(failure, requestId))),
  }
}

/**
 * Forwards the events of a response unchanged. If the stream breaks, appends failure events that
 * continue the sequence numbers and repeat the response that had begun.
 */
export function forwardedEvents(requestId: string): EventForm<unknown> {
  let first: string | undefined
  let last: string | undefined
  return {
    see(data) {
      first ??= data
      last = data
    },
    end: () => [],
    error(failure) {
      const { code, message, param } = errorFor(failure, requestId)
      const { response } = fieldsOf(first)
      const number = fieldsOf(last).sequence_number
      const next = typeof number === 'number' ? number + 1 : 0
      const error = { code: 'server_error', message }
      return asEvents([
        { type: 'error', sequence_number: next, code, message, param },
        {
          type: 'response.failed',
          sequence_number: next + 1,
          response: { ...fieldsOf(response), status: 'failed', error },
        },
      ])
    },
  }
}

/** The fields of an object or of its JSON text; empty for anything else. */
function fieldsOf(given: unknown): Fields {
  try {
    const value: unknown = typeof given === 'string' ? JSON.parse(given) : given
    return typeof value === 'object' && value !== null ? (value as Fields) : {}
  } catch {
    return {}
  }
}
