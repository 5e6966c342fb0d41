import { frame } from '../../streams/event-frame.js'
import { toProblem } from '../../streams/index.js'
import { openAIError } from '../server/reply.js'
import type { EventText } from '../server/written-events.js'

/** Builds the event that reports a failure, in the format of the stream's other events. */
export type FailureForm = (error: unknown) => string

/** The format if that of the other events is not known. */
export const plainForm: FailureForm = (error) => {
  const { status, body } = toProblem(error)
  return frame({
    event: 'error',
    data: JSON.stringify({ error: openAIError(status, body.code, body.detail, error) }),
  })
}

export const formOf =
  (body: EventText): FailureForm =>
  (error) =>
    body.failureText?.(error) || plainForm(error)

/** The position after the empty line that ends an event. */
const BETWEEN = /(?<=\n\n)/

/** The events of a text, one by one. */
export const eventsIn = (text: string): string[] => (text === '' ? [] : text.split(BETWEEN))

/** Adds the index of an event as its `id`. */
export const numbered = (event: string, index: number): string => `id: ${index}\n${event}`
