import {
  completions,
  imageEdits,
  messages,
  modelById,
  moderations,
  responses,
  transcriptions,
  videoByPath,
} from './apis/drafts.js'
import {
  type Asked,
  audioByPath,
  chatCompletion,
  type Draft,
  embeddings,
  imageByPath,
  images,
  json,
  speech,
  textByPath,
  whole,
} from './drafts.js'
import { Refusal } from './errors.js'
import type { Models } from './models.js'

/** One route (Pollinations gateway documentation, 2026-11). @internal */
export interface Route {
  /** Whether no API key is needed, as for lists of models. */
  readonly open: boolean
  /** Whether it is a generation, which is limited, counted, shared and cached. */
  readonly generation: boolean
  /** Validates the request; throws a `Refusal`. */
  draft(asked: Asked): Draft
}

const EXACT: Readonly<Record<string, Route>> = {
  'POST /v1/chat/completions': generation(chatCompletion),
  'POST /v1/responses': generation(responses),
  'POST /v1/messages': generation(messages),
  'POST /v1/completions': generation(completions),
  'POST /v1/moderations': generation(moderations),
  'POST /v1/images/generations': generation(images),
  'POST /v1/images/edits': generation(imageEdits),
  'POST /v1/audio/speech': generation(speech),
  'POST /v1/audio/transcriptions': generation(transcriptions),
  'POST /v1/embeddings': generation(embeddings),
  'GET /v1/models': list((models) => models.openAiList()),
  'GET /models': list((models) => models.richList()),
  'GET /text/models': list((models) => models.richList('text')),
  'GET /image/models': list((models) => models.richList('image')),
  'GET /audio/models': list((models) => models.richList('audio')),
  'GET /account/balance': {
    open: false,
    generation: false,
    draft: () => whole(() => json({ balance: 100 })),
  },
}

const BY_PREFIX: readonly (readonly [prefix: string, route: Route])[] = [
  ['/text/', generation(textByPath)],
  ['/image/', generation(imageByPath)],
  ['/audio/', generation(audioByPath)],
  ['/video/', generation(videoByPath)],
  ['/v1/models/', { open: true, generation: false, draft: modelById }],
]

/** Finds the route for a method and path; throws a 404 otherwise. @internal */
export function findRoute(method: string, path: string): Route {
  const name = `${method} ${path}`
  if (Object.hasOwn(EXACT, name)) return EXACT[name] as Route
  const route =
    method === 'GET' ? BY_PREFIX.find(([prefix]) => path.startsWith(prefix))?.[1] : undefined
  if (route === undefined) throw new Refusal(404, 'No such route.')
  return route
}

function generation(draft: Route['draft']): Route {
  return { open: false, generation: true, draft }
}

function list(make: (models: Models) => object): Route {
  return {
    open: true,
    generation: false,
    draft: ({ models }) => whole(() => json(make(models))),
  }
}
