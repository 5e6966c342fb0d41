import { ANSWER } from '../../client/client.js'
import type { BlossomAnswer, JsonAnswer } from '../../client/types.js'
import { CHAT, RESPONSES } from '../../client/wire/shapes.js'
import { isRecord, isStackError, type StackError } from '../../core/index.js'
import { passOn, readForwarded } from '../routes/forward.js'
import type { Route, RouteCall, RouteTools } from '../routes/route.js'
import { ResponsesRequest } from '../schemas.js'
import type { Reply } from '../server/message.js'
import { events, json, streamFor } from '../server/reply.js'
import { Translation } from './answer/translation.js'
import { forwardedEvents, translatedEvents } from './events.js'
import { ModelList } from './model-list.js'
import { type LimitField, toChatBody } from './request/index.js'

type Body = Readonly<Record<string, unknown>>

/** The parts of the gateway that the route uses. */
interface Host extends Pick<RouteTools, 'options'> {
  onClose(end: () => Promise<void>): () => void
}

/** Maximum number of models whose name for the output limit is remembered. */
const REMEMBERED = 1_000

/**
 * `POST /v1/responses`: forwarded if upstream serves it for the model, otherwise translated to a
 * chat.
 */
export function responsesRoute(core: Host): Route {
  const models = new ModelList()
  core.onClose(async () => models.close())
  const chats = new Chats(models)
  return {
    name: 'v1-responses',
    method: 'POST',
    path: RESPONSES,
    dialect: 'openai',
    spends: true,
    carriesMedia: true,
    async handle(call, tools) {
      const body = await readForwarded(call, tools, ResponsesRequest)
      const { responses } = tools.options
      const isForwarded =
        responses === 'forward' ||
        (responses === 'auto' && models.serves(body.model, RESPONSES, call.call, tools))
      if (!isForwarded) return chats.answer(body, call, tools)
      // Default to `store: false`: only responses that upstream does not store can be cached here.
      const asked = { ...body, store: body.store ?? false }
      return passOn(call, tools, RESPONSES, asked, { form: forwardedEvents(call.requestId) })
    },
  }
}

/** Answers requests with chat completions. */
class Chats {
  readonly #models: ModelList
  /** Models that have rejected `max_completion_tokens`, oldest first. */
  readonly #older = new Set<unknown>()

  constructor(models: ModelList) {
    this.#models = models
  }

  async answer(body: Body, call: RouteCall, tools: RouteTools): Promise<Reply> {
    const answer = await this.#ask(body, call, tools)
    if (Symbol.asyncIterator in answer) {
      const form = translatedEvents(body, call.requestId)
      return events(streamFor(answer), form, call.delivery)
    }
    const { value } = (answer as JsonAnswer).data
    return json(Translation.whole(body, isRecord(value) ? value : {}))
  }

  async #ask(body: Body, { call }: RouteCall, { client }: RouteTools): Promise<BlossomAnswer> {
    const ask = (limit: LimitField) =>
      client[ANSWER]({ method: 'POST', path: CHAT, body: toChatBody(body, limit) }, call)
    const limit = this.#limitFor(body.model)
    try {
      return await ask(limit)
    } catch (error) {
      if (limit === 'max_tokens' || !refusesLimit(error, body)) throw error
      const answer = await ask('max_tokens')
      this.#remember(body.model)
      return answer
    }
  }

  #limitFor(model: unknown): LimitField {
    const isOlder =
      this.#older.has(model) ||
      (this.#models.takes(model, 'max_completion_tokens') === false &&
        this.#models.takes(model, 'max_tokens') === true)
    return isOlder ? 'max_tokens' : 'max_completion_tokens'
  }

  #remember(model: unknown): void {
    this.#older.add(model)
    if (this.#older.size > REMEMBERED) this.#older.delete(this.#older.values().next().value)
  }
}

/** Whether an error says that the model does not accept `max_completion_tokens`. */
function refusesLimit(error: unknown, { max_output_tokens }: Body): boolean {
  if (max_output_tokens === undefined || max_output_tokens === null) return false
  if (!isStackError(error, 'BAD_REQUEST')) return false
  const { upstreamParam, upstreamMessage } = error as Partial<Record<string, unknown>> & StackError
  return [upstreamParam, upstreamMessage].some(
    (words) => typeof words === 'string' && words.includes('max_completion_tokens'),
  )
}
