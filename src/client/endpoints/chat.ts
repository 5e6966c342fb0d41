import { isRecord, ValidationError } from '../../core/index.js'
import type { Blossom } from '../interface.js'
import type { ChatBody, ChatChunk, ChatCompletion, JsonAnswer } from '../types.js'
import { Outgoing } from '../wire/outgoing.js'
import { CHAT } from '../wire/shapes.js'
import { dataOf } from './answers.js'
import type { Call } from './call.js'
import { checkForm } from './form.js'

/** `chat.create` and `chat.stream`: OpenAI's request bodies and answers, unchanged. */
export function chatEndpoints(call: Call): Blossom['chat'] {
  return {
    create: async (body, options = {}) => {
      const request = readBody('chat.create', body, false)
      return dataOf(await call<JsonAnswer>(request, options)) as ChatCompletion
    },
    stream: async (body, options = {}) =>
      call<AsyncGenerator<ChatChunk, undefined, undefined>>(
        readBody('chat.stream', body, true),
        options,
      ),
  }
}

function readBody(method: string, body: ChatBody, stream: boolean): Outgoing {
  if (!isRecord(body) || !Array.isArray(body.messages) || body.messages.length === 0)
    throw new ValidationError(
      `${method}: the body must be an object with a list of at least one message.`,
    )
  checkForm(method, body, stream)
  // A copy: if the caller adds a message while the call waits, its cache key must not change.
  const messages = [...body.messages]
  return new Outgoing('POST', CHAT, { ...body, messages, ...(stream && { stream }) }, 'json')
}
