import type { GenericSchema } from 'valibot'
import { ChatRequest, EmbeddingsRequest, ImagesRequest, SpeechRequest } from '../schemas.js'
import type { Reply } from '../server/message.js'
import { json } from '../server/reply.js'
import { passOn, readForwarded } from './forward.js'
import type { Route, RouteCall, RouteTools } from './route.js'

/** Forwards the body to the same path upstream, unknown fields included. */
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
