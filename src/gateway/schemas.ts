import * as v from 'valibot'
import { ENDPOINTS } from '../batches/internals.js'
import { type FieldError, FieldsError } from './server/message.js'

// The contract of the request bodies. Each schema is the validator, the TypeScript type, the
// OpenAPI schema and the table of fields in the README. In an optional field `null` counts as
// absent, as in OpenAI's API.

/** More prompts in one request are a mistake or an attack. */
export const MAX_PROMPTS = 100

const NON_EMPTY = 'must be a non-empty string'

/** White space alone is no prompt. */
const prompt = (description: string) =>
  v.pipe(v.string(NON_EMPTY), v.regex(/\S/, NON_EMPTY), v.description(description))

interface Limits {
  readonly min: number
  readonly max: number
  readonly fallback: number
}

function integer({ min, max, fallback }: Limits, description: string) {
  const expected = `must be an integer from ${min} to ${max}`
  const value = v.pipe(
    v.number(expected),
    v.integer(expected),
    v.minValue(min, expected),
    v.maxValue(max, expected),
    v.description(description),
  )
  return v.nullish(value, fallback)
}

function number({ min, max, fallback }: Limits, description: string) {
  const expected = `must be a number from ${min} to ${max}`
  const value = v.pipe(
    v.number(expected),
    v.minValue(min, expected),
    v.maxValue(max, expected),
    v.description(description),
  )
  return v.nullish(value, fallback)
}

const model = v.nullish(
  v.pipe(
    v.string(NON_EMPTY),
    v.nonEmpty(NON_EMPTY),
    v.description('Name of a model. Without one the server chooses.'),
  ),
)

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const MESSAGES = 'must be a non-empty list of objects'
const messages = v.pipe(
  v.array(v.pipe(v.unknown(), v.metadata({ type: 'object' })), MESSAGES),
  v.nonEmpty(MESSAGES),
  v.everyItem(isObject, MESSAGES),
  v.description('The conversation so far.'),
)

const PROMPTS = 'must be a non-empty list of strings'
const prompts = v.pipe(
  v.array(
    v.pipe(
      v.unknown(),
      v.metadata({ type: 'string' }),
      v.description('An empty one is an error in its place in the results.'),
    ),
    PROMPTS,
  ),
  v.nonEmpty(PROMPTS),
  v.everyItem((item) => typeof item === 'string', PROMPTS),
  v.maxLength(MAX_PROMPTS, `must have at most ${MAX_PROMPTS} items`),
  v.description('One prompt for each result.'),
)

/** A value that is no boolean would be found wrong by upstream, or not until it was paid for. */
const stream = (description: string) =>
  v.nullish(v.pipe(v.boolean('must be true or false'), v.description(description)))

/** Where an answer comes in one piece, events that were asked for could not be given. */
const noStream = v.nullish(
  v.pipe(v.literal(false, 'must be false'), v.description('The answer comes in one piece.')),
)

/** Upper limits: upstream has limits of its own below them. */
const generation = {
  prompt: prompt('The question or task.'),
  max_tokens: integer(
    { min: 1, max: 32_768, fallback: 100 },
    'Maximum length of the answer, in tokens.',
  ),
  temperature: number({ min: 0, max: 2, fallback: 0.7 }, 'Randomness of the answer.'),
  model,
}

/** Bodies of `/generate/*`, except for `/generate/batch`. Unknown fields are ignored. */
export const GenerateRequest = v.object(generation)
export type GenerateRequest = v.InferOutput<typeof GenerateRequest>

export const BatchRequest = v.object({
  prompts,
  batch_size: integer(
    { min: 1, max: MAX_PROMPTS, fallback: 5 },
    'Number of prompts in progress at a time.',
  ),
})

/** Token limit of each answer of a batch, which has no field for it. */
export const DEFAULT_MAX_TOKENS = v.getDefault(generation.max_tokens)

const FORWARDED = 'Other fields are forwarded to upstream unchanged.'

// Bodies of `/v1/*` are forwarded as they came: these are the fields that the gateway checks.

export const ChatRequest = v.pipe(
  v.object({
    messages,
    model,
    stream: stream('Whether the answer comes as Server-Sent Events.'),
  }),
  v.description(FORWARDED),
)

const NO_INPUT = 'must be a non-empty string or list'

/** What becomes of the other fields depends on whether the request is forwarded or translated. */
export const ResponsesRequest = v.pipe(
  v.object({
    input: v.pipe(
      v.union(
        [
          v.pipe(v.string(), v.nonEmpty(NO_INPUT)),
          v.pipe(v.array(v.unknown()), v.nonEmpty(NO_INPUT)),
        ],
        NO_INPUT,
      ),
      v.description('A text, or the items of the conversation so far.'),
    ),
    model,
    stream: stream('Whether the answer comes as Server-Sent Events.'),
  }),
  v.description(FORWARDED),
)

export const EmbeddingsRequest = v.pipe(
  v.object({
    input: v.pipe(
      v.union([v.string(), v.array(v.unknown())], 'must be a string or a list'),
      v.description('A text, or a list of texts.'),
    ),
    model,
    stream: noStream,
  }),
  v.description(FORWARDED),
)

export const ImagesRequest = v.pipe(
  v.object({
    prompt: prompt('What the image shows.'),
    model,
    stream: stream('Whether the image comes as Server-Sent Events, where the model can.'),
  }),
  v.description(FORWARDED),
)

export const SpeechRequest = v.pipe(
  v.object({
    input: prompt('The text to speak.'),
    model,
    stream: noStream,
    stream_format: v.nullish(
      v.pipe(
        v.literal('audio', 'must be "audio"'),
        v.description('Speech comes as the bytes of the sound.'),
      ),
    ),
    voice: v.optional(v.pipe(v.unknown(), v.description('Name of the voice.'))),
  }),
  v.description(FORWARDED),
)

const METADATA = 'must be an object of at most 16 strings'

/** Body of `POST /v1/batches`. */
export const BatchCreateRequest = v.object({
  input_file_id: v.pipe(
    v.string(NON_EMPTY),
    v.nonEmpty(NON_EMPTY),
    v.description('The file with the lines, from `POST /v1/files`.'),
  ),
  endpoint: v.pipe(
    v.picklist(ENDPOINTS, `must be one of ${ENDPOINTS.join(', ')}`),
    v.description('The route that each line calls.'),
  ),
  completion_window: v.pipe(
    v.literal('24h', 'must be "24h"'),
    v.description('Lines that have not begun by then never do.'),
  ),
  metadata: v.nullish(
    v.pipe(
      v.record(
        v.pipe(v.string(), v.maxLength(64, METADATA)),
        v.pipe(v.string(METADATA), v.maxLength(512, METADATA)),
        METADATA,
      ),
      v.maxEntries(16, METADATA),
      v.description('What you want to know of the batch: at most 16 texts.'),
    ),
  ),
})

const MAX_ID_LENGTH = 64
const ID = `must be a string of 1 to ${MAX_ID_LENGTH} characters or a finite number`

/** By which a client recognizes the answers to one of its WebSocket messages. */
export const MessageId = v.union(
  [
    v.pipe(v.string(), v.nonEmpty(ID), v.maxLength(MAX_ID_LENGTH, ID)),
    v.pipe(v.number(), v.finite(ID)),
  ],
  ID,
)
export type MessageId = v.InferOutput<typeof MessageId>

const id = v.pipe(
  v.nullish(MessageId),
  v.transform((value) => value ?? undefined),
)

/** What a WebSocket client may send. */
export const SocketMessage = v.variant(
  'type',
  [
    v.object({ type: v.picklist(['generate', 'stream']), id, ...generation }),
    v.object({ type: v.literal('cancel'), id: MessageId }),
    v.object({ type: v.literal('ping') }),
  ],
  'must be "generate", "stream", "cancel" or "ping"',
)
export type SocketMessage = v.InferOutput<typeof SocketMessage>

type Body = Readonly<Record<string, unknown>>

/**
 * A body with its defaults filled in.
 * @throws FieldsError 400, naming each wrong field
 */
export function readBody<Schema extends v.GenericSchema>(
  schema: Schema,
  body: Body,
): v.InferOutput<Schema> {
  const result = parse(schema, body)
  if (result.success) return result.output
  throw new FieldsError(result.issues.map(toFieldError))
}

/** What `readBody` would refuse, in the order of the schema's fields. */
export function wrongFields(schema: v.GenericSchema, body: Body): FieldError[] {
  return (parse(schema, body).issues ?? []).map(toFieldError)
}

function parse<Schema extends v.GenericSchema>(schema: Schema, body: Body) {
  // A copy without a prototype: inherited fields do not count.
  const own: Body = Object.assign(Object.create(null), body)
  return v.safeParse(schema, own, { abortPipeEarly: true })
}

function toFieldError(issue: v.BaseIssue<unknown>): FieldError {
  return {
    field: v.getDotPath(issue) ?? '',
    message: issue.input === undefined || issue.input === null ? 'is missing' : issue.message,
  }
}
