import * as v from 'valibot'
import { ValidationError } from '../../core/index.js'
import type { Problem } from '../../streams/index.js'
import { MessageId } from '../schemas.js'

/** @throws ValidationError if the text is not a JSON object */
export function parseMessage(text: string): Record<string, unknown> {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    throw new ValidationError('The message is not valid JSON.')
  }
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    throw new ValidationError('The message must be a JSON object.')
  }
  return message as Record<string, unknown>
}

/** The id of a message, if it has a valid one. */
export const idOf = ({ id }: Readonly<Record<string, unknown>>): MessageId | undefined =>
  v.is(MessageId, id) ? id : undefined

/** Adds the id to a message, if there is one. */
export const withId = <Message extends object>(
  message: Message,
  id: MessageId | undefined,
): Message & { id?: MessageId } => (id === undefined ? message : { ...message, id })

/** An error message, with the main fields of the problem details that HTTP routes send. */
export function errorMessage({ headers, body }: Problem, id: MessageId | undefined): object {
  const { detail, code, requestId, errors } = body
  const retryAfter = headers['retry-after']
  const message = { type: 'error', message: detail, code, requestId }
  return withId(
    {
      ...message,
      ...(errors && { errors }),
      ...(retryAfter !== undefined && { retryAfter: Number(retryAfter) }),
    },
    id,
  )
}
