import type { GenericSchema } from 'valibot'
import { ANSWER } from '../../client/client.js'
import type { JsonAnswer } from '../../client/types.js'
import { COMPLETIONS, MODELS } from '../../client/wire/shapes.js'
import {
  ChatRequest,
  CompletionsRequest,
  EmbeddingsRequest,
  ImagesRequest,
  ModerationsRequest,
  SpeechRequest,
} from '../schemas.js'
import type { Reply } from '../server/message.js'
import { json } from '../server/reply.js'
import { jsonOf, passOn, readForwarded } from './forward.js'
import { admitModel } from './guide.js'
import { messagesRoute } from './messages.js'
import type { Route, RouteCall, RouteTools } from './route.js'

/** A route that forwards the body, with unknown fields, to the same path upstream. */
function post(name: Route['name'], path: string, schema: GenericSchema): Route {
  return {
    name,
    method: 'POST',
    path,
    dialect: 'openai',
    spends: true,
    handle: async (call, tools) =>
      passOn(call, tools, path, await readForwarded(call, tools, schema)),
  }
}

async function listModels({ call }: RouteCall, { blossom, options }: RouteTools): Promise<Reply> {
  const list = await blossom.models.list(call)
  const { models } = options
  return json({
    object: 'list',
    data: models === undefined ? list : list.filter((model) => models.includes(model?.id)),
  })
}

async function getModel({ call, id }: RouteCall, tools: RouteTools): Promise<Reply> {
  admitModel(id, tools)
  const path = `${MODELS}/${encodeURIComponent(id)}`
  return jsonOf((await tools.client[ANSWER]({ method: 'GET', path }, call)) as JsonAnswer)
}

/** OpenAI-compatible routes. */
export const openAIRoutes: readonly Route[] = [
  { ...post('v1-chat', '/v1/chat/completions', ChatRequest), carriesMedia: true },
  messagesRoute,
  post('v1-completions', COMPLETIONS, CompletionsRequest),
  post('v1-embeddings', '/v1/embeddings', EmbeddingsRequest),
  post('v1-images', '/v1/images/generations', ImagesRequest),
  post('v1-speech', '/v1/audio/speech', SpeechRequest),
  {
    name: 'v1-models',
    method: 'GET',
    path: MODELS,
    dialect: 'openai',
    spends: true,
    handle: listModels,
  },
  {
    name: 'v1-model',
    method: 'GET',
    // Ids may look like `vendor/model`, and some clients do not encode the slash.
    path: `${MODELS}/{id}`,
    idHasSlashes: true,
    dialect: 'openai',
    spends: true,
    handle: getModel,
  },
  post('v1-moderations', '/v1/moderations', ModerationsRequest),
]
