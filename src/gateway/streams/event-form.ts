import { frame } from '../../streams/event-frame.js'
import { toProblem } from '../../streams/index.js'
import { openAIError } from '../server/reply.js'
import type { EventText } from '../server/written-events.js'

/** Makes the event that tells of a failure, in the form of a stream's other events. */
export type FailureForm = (error: unknown) => string

/** As far as nothing is known of the other events. */
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

/** An event ends with an empty line, and holds no other. */
const BETWEEN = /(?<=\n\n)/

/** The events of a text, one by one. */
export const eventsIn = (text: string): string[] => (text === '' ? [] : text.split(BETWEEN))

/** An event with its place in the stream. */
export const numbered = (event: string, index: number): string => `id: ${index}\n${event}`
