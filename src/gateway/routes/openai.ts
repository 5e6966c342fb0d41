import type { GenericSchema } from 'valibot'
import { ANSWER } from '../../client/client.js'
import { ProtocolError } from '../../client/errors.js'
import { toProblem } from '../../streams/index.js'
import {
  ChatRequest,
  EmbeddingsRequest,
  ImagesRequest,
  SpeechRequest,
  wrongFields,
} from '../schemas.js'
import { FieldsError, type Reply } from '../server/message.js'
import { events, json, jsonText, openAIError, streamFor } from '../server/reply.js'
import { admitModel } from './guide.js'
import type { Route, RouteCall, RouteTools } from './route.js'

/** Fields that could redirect the request, or change the prototype of an object. */
const NEVER_FORWARDED: ReadonlySet<string> = new Set(['__proto__', 'apiKey', 'baseURL', 'headers'])

/** A body without what could redirect it. */
export function forwarded(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !NEVER_FORWARDED.has(name)))
}

/** Forwards the body to the same path upstream, unknown fields included. */
function post(name: Route['name'], path: string, schema: GenericSchema): Route {
  return {
    name,
    method: 'POST',
    path,
    dialect: 'openai',
    spends: true,
    async handle(call, tools) {
      const body = await call.json()
      const wrong = wrongFields(schema, body)
      const model = body.model as string | null | undefined
      // With a list of models, upstream's own choice could be one that is not on it.
      if (tools.options.models !== undefined && (model === undefined || model === null))
        wrong.push({ field: 'model', message: 'is missing' })
      if (wrong.length > 0) throw new FieldsError(wrong)
      admitModel(model, tools)
      return passOn(call, tools, path, forwarded(body))
    },
  }
}

async function passOn(
  { call, requestId, delivery }: RouteCall,
  { client }: RouteTools,
  path: string,
  body: Record<string, unknown>,
): Promise<Reply> {
  const answer = await client[ANSWER]({ method: 'POST', path, body }, call)
  if (Symbol.asyncIterator in answer) {
    const error = (failure: unknown) => {
      const { status, body: problem } = toProblem(failure, { requestId })
      const told = openAIError(status, problem.code, problem.detail, failure)
      return { data: JSON.stringify({ error: told }) }
    }
    return events(streamFor(answer), { error }, delivery)
  }
  if ('bytes' in answer) {
    const { bytes, contentType } = answer
    // Whatever a browser could run or show as a page is not passed on.
    if (!/^(audio|image|video)\/(?!svg)|^application\/octet-stream\b/i.test(contentType))
      throw new ProtocolError('Upstream answered with a content type other than the one requested.')
    return { status: 200, headers: { 'content-type': contentType }, body: bytes }
  }
  // What came as text, and was judged, goes out as text.
  const { text } = answer.data
  if (!/^\s*[{[]/.test(text))
    throw new ProtocolError('Upstream answered with JSON that is not an object.')
  return jsonText(text)
}

async function listModels({ call }: RouteCall, { blossom, options }: RouteTools): Promise<Reply> {
  const list = await blossom.models.list(call)
  const { models } = options
  return json({
    object: 'list',
    data: models === undefined ? list : list.filter((model) => models.includes(model?.id)),
  })
}

/** OpenAI's routes: point any OpenAI client here. */
export const openAIRoutes: readonly Route[] = [
  { ...post('v1-chat', '/v1/chat/completions', ChatRequest), carriesMedia: true },
  post('v1-embeddings', '/v1/embeddings', EmbeddingsRequest),
  post('v1-images', '/v1/images/generations', ImagesRequest),
  post('v1-speech', '/v1/audio/speech', SpeechRequest),
  {
    name: 'v1-models',
    method: 'GET',
    path: '/v1/models',
    dialect: 'openai',
    spends: true,
    handle: listModels,
  },
]
