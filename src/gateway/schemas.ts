import * as v from 'valibot'
import { ENDPOINTS } from '../batches/internals.js'
import { model, NON_EMPTY, prompt } from './schemas/fields.js'
import { type FieldError, FieldsError } from './server/message.js'

export * from './schemas/openai.js'

// The contract of the request bodies. Each schema is the validator, the TypeScript type, the
// OpenAPI schema and the table of fields in the README. In an optional field `null` counts as
// absent, as in OpenAI's API.

/** Maximum number of prompts in one request. */
export const MAX_PROMPTS = 100

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

const PROMPTS = 'must be a non-empty list of strings'
const prompts = v.pipe(
  v.array(
    v.pipe(
      v.unknown(),
      v.metadata({ type: 'string' }),
      v.description('An empty prompt gives an error at its position in the results.'),
    ),
    PROMPTS,
  ),
  v.nonEmpty(PROMPTS),
  v.everyItem((item) => typeof item === 'string', PROMPTS),
  v.maxLength(MAX_PROMPTS, `must have at most ${MAX_PROMPTS} items`),
  v.description('The prompts; the results have the same order.'),
)

/** The upper limits are generous: upstream enforces its own, lower ones. */
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
    'Maximum number of prompts in progress.',
  ),
})

/** Token limit of each answer of `/generate/batch`, which has no field for it. */
export const DEFAULT_MAX_TOKENS = v.getDefault(generation.max_tokens)

const METADATA = 'must be an object of at most 16 strings'

/** Body of `POST /v1/batches`. */
export const BatchCreateRequest = v.object({
  input_file_id: v.pipe(
    v.string(NON_EMPTY),
    v.nonEmpty(NON_EMPTY),
    v.description('Id of the file with the lines, from `POST /v1/files`.'),
  ),
  endpoint: v.pipe(
    v.picklist(ENDPOINTS, `must be one of ${ENDPOINTS.join(', ')}`),
    v.description('The route that each line calls.'),
  ),
  completion_window: v.pipe(
    v.literal('24h', 'must be "24h"'),
    v.description('Lines that have not started by then are not run.'),
  ),
  metadata: v.nullish(
    v.pipe(
      v.record(
        v.pipe(v.string(), v.maxLength(64, METADATA)),
        v.pipe(v.string(METADATA), v.maxLength(512, METADATA)),
        METADATA,
      ),
      v.maxEntries(16, METADATA),
      v.description('Your own notes about the batch: at most 16 strings.'),
    ),
  ),
})

const MAX_ID_LENGTH = 64
const ID = `must be a string of 1 to ${MAX_ID_LENGTH} characters or a finite number`

/** Id of a WebSocket message, which its answers repeat. */
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

/** Messages that a WebSocket client may send. */
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
 * Validates a body and fills in its defaults.
 * @throws FieldsError with status 400, naming each invalid field
 */
export function readBody<Schema extends v.GenericSchema>(
  schema: Schema,
  body: Body,
): v.InferOutput<Schema> {
  const result = parse(schema, body)
  if (result.success) return result.output
  throw new FieldsError(result.issues.map(toFieldError))
}

/** The invalid fields of a body, in the order of the schema. */
export function wrongFields(schema: v.GenericSchema, body: Body): FieldError[] {
  return (parse(schema, body).issues ?? []).map(toFieldError)
}

function parse<Schema extends v.GenericSchema>(schema: Schema, body: Body) {
  // A copy without a prototype, so that inherited fields are ignored.
  const own: Body = Object.assign(Object.create(null), body)
  return v.safeParse(schema, own, { abortPipeEarly: true })
}

function toFieldError(issue: v.BaseIssue<unknown>): FieldError {
  return {
    field: v.getDotPath(issue) ?? '',
    message: issue.input === undefined || issue.input === null ? 'is missing' : issue.message,
  }
}
