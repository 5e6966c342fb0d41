import { isRecord, ValidationError } from '../../core/index.js'
import type { Blossom } from '../interface.js'
import type { JsonAnswer, ResponsesAnswer, ResponsesBody, ResponsesEvent } from '../types.js'
import { Outgoing } from '../wire/outgoing.js'
import { RESPONSES } from '../wire/shapes.js'
import { dataOf } from './answers.js'
import type { Call } from './call.js'
import { checkForm } from './form.js'

/** `responses.create` and `responses.stream`: OpenAI's request bodies and answers, unchanged. */
export function responsesEndpoints(call: Call): Blossom['responses'] {
  return {
    create: async (body, options = {}) => {
      const request = readBody('responses.create', body, false)
      return dataOf(await call<JsonAnswer>(request, options)) as ResponsesAnswer
    },
    stream: async (body, options = {}) =>
      call<AsyncGenerator<ResponsesEvent, undefined, undefined>>(
        readBody('responses.stream', body, true),
        options,
      ),
  }
}

function readBody(method: string, body: ResponsesBody, stream: boolean): Outgoing {
  const { input } = isRecord(body) ? body : {}
  const isInput = (typeof input === 'string' && input !== '') || Array.isArray(input)
  if (!isInput || input.length === 0)
    throw new ValidationError(
      `${method}: the body must be an object whose input is a text or a list of at least one item.`,
    )
  checkForm(method, body, stream)
  // A copy: if the caller adds an item while the call waits, its cache key must not change.
  const items = Array.isArray(input) ? [...input] : input
  return new Outgoing(
    'POST',
    RESPONSES,
    { ...body, input: items, ...(stream && { stream }) },
    'json',
  )
}
