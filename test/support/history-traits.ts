import type { BaseTraits, TokenUsage } from '../../src/core/index.js'
import type { Ask, Chunk, Part, Served } from './history-upstream.js'

/** Of a whole stream. */
export const CHUNKS = 4
/** Of each prompt, and what a stream's request allows for its answer. */
const INPUT_TOKENS = 10
const ALLOWED_TOKENS = 20
const UNREAD_MS = 150

/** What a stream is thought to cost when it begins. Tokens. */
export const weightOfStream = INPUT_TOKENS + ALLOWED_TOKENS

/** What layers may know of requests and answers. */
export const TRAITS: BaseTraits<Ask, unknown, Chunk> = {
  streams: ({ stream }) => stream,
  model: ({ model }) => model,
  withModel: (request, model) => ({ ...request, model }),
  // Of one form what it may cost is known, of the other it is for layers to guess.
  weigh: ({ prompts, stream }) => ({
    input: INPUT_TOKENS * prompts.length,
    output: stream ? ALLOWED_TOKENS : undefined,
  }),
  usage: (answer) => (Array.isArray(answer) ? usageOf(answer) : usageAt(answer as Chunk)),
  key: ({ model, prompts, stream }, use) =>
    JSON.stringify([model, prompts, use === 'dedupe' && stream]),
  commits: ({ index }) => index > 0,
  complete: (chunks) => chunks.at(-1)?.last === true,
  toStream: (answer, { prompts }) =>
    prompts.length === 1 ? converted((answer as Part[])[0] as Part) : undefined,
  fromStream: ([first]) => first && [partOf(first)],
  split: ({ prompts, stream, model }) =>
    stream ? undefined : { group: model, size: prompts.length },
  merge: (requests) => ({
    request: {
      prompts: requests.flatMap(({ prompts }) => prompts),
      stream: false,
      model: (requests[0] as Ask).model,
    },
    part: (answer, from, size) => (answer as Part[]).slice(from, from + size),
  }),
  unreadMs: UNREAD_MS,
}

/** What an answer has cost: sometimes less, sometimes more than was allowed. */
const usageOf = (parts: readonly Part[]): TokenUsage => ({
  input: INPUT_TOKENS * parts.length,
  output: ((parts[0]?.serial ?? 0) % 4) * ALLOWED_TOKENS * 0.5,
})

const usageAt = (chunk: Chunk): TokenUsage | undefined =>
  chunk.last ? usageOf([chunk]) : undefined

const partOf = ({ prompt, tenant, model, serial }: Part): Part => ({
  prompt,
  tenant,
  model,
  serial,
})

/** The whole plain answer to a request. */
export const partsOf = ({
  prompts,
  tenant,
  model,
  serial,
}: Pick<Served, 'prompts' | 'tenant' | 'model' | 'serial'>): Part[] =>
  prompts.map((prompt) => ({ prompt, tenant, model, serial }))

/** A plain answer as a stream: one chunk of content behind the empty one. */
const converted = (part: Part): Chunk[] =>
  [0, 1].map((index) => ({ ...partOf(part), index, last: index === 1 }))

/** All chunks that a stream of this request has when it is whole. */
export const chunksOf = ({
  prompts,
  tenant,
  model,
  serial,
  stream,
}: Pick<Served, 'prompts' | 'tenant' | 'model' | 'serial' | 'stream'>): Chunk[] => {
  const part = { prompt: prompts[0] as string, tenant, model, serial }
  return stream
    ? Array.from({ length: CHUNKS }, (_, index) => ({ ...part, index, last: index === CHUNKS - 1 }))
    : converted(part)
}
