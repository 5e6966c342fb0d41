import { MESSAGES } from '../../client/wire/shapes.js'
import { toProblem } from '../../streams/index.js'
import { MessagesRequest } from '../schemas.js'
import type { EventForm } from '../server/event-body.js'
import type { Incoming } from '../server/message.js'
import { anthropicError } from '../server/reply.js'
import { passOn, readForwarded } from './forward.js'
import type { Route } from './route.js'

/** Headers that select the version of Anthropic's API. */
const FORWARDED = ['anthropic-version', 'anthropic-beta'] as const

function headersOf(incoming: Incoming): readonly string[] {
  return FORWARDED.flatMap((name) => {
    const value = incoming.header(name)
    // Ignore values that are not one line of printable ASCII.
    return value !== undefined && /^[\x20-\x7e]{1,1024}$/.test(value) ? [name, value] : []
  })
}

/** Anthropic's events. They end with `message_stop`, or with an `error` event. */
const messageEvents = (requestId: string): EventForm<unknown> => ({
  end: () => [],
  error: (failure) => {
    const { status, body } = toProblem(failure, { requestId })
    const data = JSON.stringify(anthropicError(status, body.detail, requestId))
    return [{ event: 'error', data }]
  },
})

/** `POST /v1/messages`: Anthropic's Messages API, forwarded to the same path. */
export const messagesRoute: Route = {
  name: 'v1-messages',
  method: 'POST',
  path: MESSAGES,
  dialect: 'anthropic',
  spends: true,
  carriesMedia: true,
  async handle(call, tools) {
    const body = await readForwarded(call, tools, MessagesRequest)
    const options = { form: messageEvents(call.requestId), headers: headersOf(call.incoming) }
    return passOn(call, tools, MESSAGES, body, options)
  },
}
