import { ValidationError } from '../../core/index.js'
import type { Problem } from '../../streams/index.js'
import { FieldsError } from '../server/message.js'

/** What a visitor calls a generation of his. */
export type MessageId = string | number

/** What a visitor says. */
export type Spoken =
  | {
      readonly type: 'generate' | 'stream'
      readonly id: MessageId | undefined
      readonly body: Readonly<Record<string, unknown>>
    }
  | { readonly type: 'cancel'; readonly id: MessageId }
  | { readonly type: 'ping' }

const LONGEST_ID = 64

/**
 * A message as a JSON object; what else it may be is a `ValidationError`, which the connection
 * survives.
 */
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

/** The id of a message; undefined when it has none, or none that can be one. */
export function idOf(message: Readonly<Record<string, unknown>>): MessageId | undefined {
  const { id } = message
  if (typeof id === 'number') return Number.isFinite(id) ? id : undefined
  return typeof id === 'string' && id !== '' && id.length <= LONGEST_ID ? id : undefined
}

/**
 * @throws ValidationError for an unknown type or a wrong id; the fields of a generation are checked
 * when it runs
 */
export function readMessage(message: Readonly<Record<string, unknown>>): Spoken {
  const { type } = message
  if (type === 'ping') return { type }
  if (type !== 'generate' && type !== 'stream' && type !== 'cancel') {
    throw new FieldsError([
      { field: 'type', message: 'must be "generate", "stream", "cancel" or "ping"' },
    ])
  }
  const id = idOf(message)
  if (id === undefined && message.id !== undefined && message.id !== null) {
    throw new FieldsError([
      { field: 'id', message: `must be a string of 1 to ${LONGEST_ID} characters, or a number` },
    ])
  }
  if (type !== 'cancel') return { type, id, body: message }
  if (id === undefined) throw new FieldsError([{ field: 'id', message: 'is missing' }])
  return { type, id }
}

/** With the id, when there is one. */
export const withId = <Message extends object>(
  message: Message,
  id: MessageId | undefined,
): Message & { id?: MessageId } => (id === undefined ? message : { ...message, id })

/** An error as a message: the problem of the HTTP routes, in few members. */
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
