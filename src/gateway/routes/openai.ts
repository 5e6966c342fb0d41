import { ProtocolError } from '../../client/errors.js'
import type { BytesResult } from '../../client/types.js'
import { toProblem } from '../../streams/index.js'
import { sseHeaders, toServerSentEvents } from '../../streams/server-sent-events.js'
import { Fields } from '../fields.js'
import type { Reply } from '../server/message.js'
import { json, openAIError } from '../server/reply.js'
import { admitModel } from './guide.js'
import type { Route, RouteCall, RouteTools } from './route.js'

/** Fields that would choose whom we speak to, or reach into objects. */
const NEVER_FORWARDED: ReadonlySet<string> = new Set(['__proto__', 'apiKey', 'baseURL', 'headers'])

function forwarded(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !NEVER_FORWARDED.has(name)))
}

type Check = (fields: Fields) => void

/** The body goes to the same path upstream, unknown fields included. */
function post(name: Route['name'], path: string, check: Check): Route {
  return {
    name,
    method: 'POST',
    path,
    dialect: 'openai',
    spends: true,
    async handle(call, tools) {
      const body = await call.json()
      const fields = new Fields(body)
      check(fields)
      const model = fields.text('model')
      // Where only some are admitted, upstream's own choice could be another.
      if (tools.options.models !== undefined) fields.present('model')
      fields.check()
      admitModel(model, tools)
      return passOn(call, tools, path, forwarded(body))
    },
  }
}

async function passOn(
  { call, requestId, broke }: RouteCall,
  { blossom, options }: RouteTools,
  path: string,
  body: Record<string, unknown>,
): Promise<Reply> {
  const answer = await blossom.request<unknown>({ method: 'POST', path, body }, call)
  if (typeof answer !== 'object' || answer === null)
    throw new ProtocolError('Upstream answered with JSON that is no object.')
  if (body.stream === true && Symbol.asyncIterator in answer) {
    const error = (failure: unknown) => {
      broke(failure)
      const { status, body: problem } = toProblem(failure, { requestId })
      return { data: JSON.stringify({ error: openAIError(status, problem.code, problem.detail) }) }
    }
    const events = toServerSentEvents(answer as AsyncIterable<unknown>, {
      heartbeatMs: options.heartbeatMs,
      error,
    })
    return { status: 200, headers: { ...sseHeaders }, body: events }
  }
  const { bytes, contentType } = answer as Partial<BytesResult>
  if (bytes instanceof Uint8Array && contentType !== undefined) {
    // Whatever a browser could run or show as a page is not passed on.
    if (!/^(audio|image|video)\/(?!svg)|^application\/octet-stream\b/i.test(contentType))
      throw new ProtocolError('Upstream answered with another type than was asked for.')
    return { status: 200, headers: { 'content-type': contentType }, body: bytes }
  }
  return json(answer)
}

async function listModels({ call }: RouteCall, { blossom, options }: RouteTools): Promise<Reply> {
  const list = await blossom.models.list(call)
  const { models } = options
  return json({
    object: 'list',
    data: models === undefined ? list : list.filter((model) => models.includes(model?.id)),
  })
}

const needsText =
  (name: string): Check =>
  (fields) =>
    void fields.prompt(name)

/** OpenAI's routes: any OpenAI client works when it is pointed here. */
export const openAIRoutes: readonly Route[] = [
  {
    ...post('v1-chat', '/v1/chat/completions', (fields) => void fields.list('messages')),
    carriesMedia: true,
  },
  post('v1-embeddings', '/v1/embeddings', (fields) => fields.present('input')),
  post('v1-images', '/v1/images/generations', needsText('prompt')),
  post('v1-speech', '/v1/audio/speech', needsText('input')),
  {
    name: 'v1-models',
    method: 'GET',
    path: '/v1/models',
    dialect: 'openai',
    spends: true,
    handle: listModels,
  },
]
