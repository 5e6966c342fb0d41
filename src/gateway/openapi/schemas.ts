import type { ErrorCode } from '../../core/index.js'
import { BATCH_SIZE, type Limit, MAX_PROMPTS, MAX_TOKENS, TEMPERATURE } from '../limits.js'

/** A JSON Schema, in the dialect of OpenAPI 3.1: draft 2020-12. */
export type Schema = Readonly<Record<string, unknown>>

/** Each code an error can have, and what it says. A code without words does not compile. */
const CODES: Readonly<Record<ErrorCode | 'INTERNAL', string>> = {
  VALIDATION: 'the request is not valid',
  AUTH: 'a credential is missing or not accepted',
  PAYMENT: 'a balance is used up',
  FORBIDDEN: 'the credential does not allow it',
  NOT_FOUND: 'no such route or model',
  RATE_LIMITED: 'too many requests',
  BAD_REQUEST: 'upstream does not accept the request',
  SERVER: 'upstream failed',
  NETWORK: 'upstream is not reachable',
  TIMEOUT: 'no complete answer in time',
  PROTOCOL: 'upstream answered with nonsense',
  STREAM: 'the answer broke off',
  TOO_LARGE: 'the request or the answer is too large',
  QUEUE_FULL: 'too many calls are waiting',
  BREAKER_OPEN: 'upstream has failed too often and is left alone for a while',
  CLOSED: 'the server is shutting down',
  CONFIG: 'a mistake in the settings of the server',
  INTERNAL: 'an unexpected error',
}

const ALL_CODES = Object.keys(CODES)

const object = (
  properties: Readonly<Record<string, Schema>>,
  required = Object.keys(properties),
  more: Schema = {},
): Schema => ({
  type: 'object',
  properties,
  required,
  ...more,
})
const text = (description?: string): Schema => ({
  type: 'string',
  ...(description && { description }),
})
const count = (description?: string): Schema => ({
  type: 'integer',
  minimum: 0,
  ...(description && { description }),
})
const word = (...values: string[]): Schema => ({ type: 'string', enum: values })

/** A number that may be left out: `null` counts as left out. */
const optional = (
  type: 'integer' | 'number',
  { fallback, min, max }: Limit,
  description: string,
): Schema => ({
  type: [type, 'null'],
  minimum: min,
  maximum: max,
  default: fallback,
  description,
})

/** Something other than white space must be in it: what `trim()` would leave. */
const prompt = (description: string): Schema => ({
  type: 'string',
  minLength: 1,
  pattern: '\\S',
  description,
})
const model: Schema = {
  type: ['string', 'null'],
  minLength: 1,
  description: 'Name of a model; the server chooses one when there is none.',
}

const errorMembers = {
  code: {
    type: 'string',
    enum: ALL_CODES,
    description: `${Object.entries(CODES)
      .map(([code, says]) => `\`${code}\`: ${says}`)
      .join('; ')}.`,
  },
  message: text(),
  requestId: text('The id of this request, to find it again in a log.'),
}

/** Fields beyond those named go to upstream as they are. */
const forwards = { description: 'Fields that are not named here go to upstream as they are.' }
const usage = { type: 'object', description: 'Token counts, where upstream tells them.' }

/** Everything that bodies are made of. The numbers are those of the validators. */
const SCHEMAS = {
  GenerateRequest: object(
    {
      prompt: prompt('What to answer.'),
      max_tokens: optional('integer', MAX_TOKENS, 'Longest answer in tokens.'),
      temperature: optional('number', TEMPERATURE, 'How freely the model chooses its words.'),
      model,
    },
    ['prompt'],
  ),
  BatchRequest: object(
    {
      prompts: {
        type: 'array',
        minItems: 1,
        maxItems: MAX_PROMPTS,
        items: {
          description:
            'A string that is not empty; anything else is an error in its place among the results.',
        },
        description: 'One prompt for each result.',
      },
      batch_size: optional('integer', BATCH_SIZE, 'Prompts in progress at once.'),
    },
    ['prompts'],
  ),
  TextResponse: object({ text: text() }),
  GeneratedText: object({
    text: text(),
    model: text('The model that answered.'),
    tokens_used: count('0 when upstream did not tell.'),
  }),
  CachedText: object({
    text: text(),
    cached: { type: 'boolean', description: 'Whether it came from the cache.' },
  }),
  BatchResponse: object({
    total: count('Prompts asked.'),
    processed: count('Prompts answered.'),
    results: {
      type: 'array',
      description: 'In the order of the prompts.',
      items: {
        anyOf: [text('The answer.'), object({ error: object(errorMembers, ['code', 'message']) })],
      },
    },
  }),
  TextEvents: text(
    'One event `data: {"text": …}` for each piece, then `data: [DONE]`. A failure after the first piece is `event: error` with ' +
      '`data: [ERROR] {"code", "message", "requestId"}`, and there is no `[DONE]`. Lines that begin with a colon keep the connection alive.',
  ),
  PoolStats: object({
    max_connections: count(),
    active_connections: count(),
    available_connections: count(),
  }),
  QueueStats: object({
    queue_size: count('Calls that wait.'),
    active_tasks: count('Calls that run.'),
    processed_count: count('Calls that have ended, well or not.'),
    max_concurrent: { type: 'integer', minimum: 1 },
  }),
  CacheCleared: object({ message: { const: 'Cache cleared' } }),
  Health: object({
    status: word('healthy', 'unhealthy', 'draining'),
    timestamp: { type: 'string', format: 'date-time' },
    uptime_seconds: { type: 'number', minimum: 0 },
    pool_stats: {
      anyOf: [{ $ref: '#/components/schemas/PoolStats' }, { type: 'object', maxProperties: 0 }],
      description: 'Empty without a pool.',
    },
    circuit_breaker_state: word('closed', 'open', 'half_open', 'unknown'),
  }),
  Alive: object({ status: { const: 'ok' } }),
  Readiness: object({ status: word('ready', 'unhealthy', 'draining') }),
  Problem: object(
    {
      type: text(),
      title: text('The status in words.'),
      status: { type: 'integer', minimum: 400, maximum: 599 },
      detail: text('A sentence for whoever made the request.'),
      instance: text(),
      code: errorMembers.code,
      requestId: errorMembers.requestId,
      errors: {
        type: 'array',
        minItems: 1,
        items: object({ field: text(), message: text() }),
        description: 'The fields that are wrong.',
      },
    },
    ['type', 'title', 'status', 'detail', 'code'],
    { description: 'Problem details as in RFC 9457; `code` is for programs.' },
  ),
  OpenAIError: object(
    {
      error: object({
        message: text(),
        type: word(
          'invalid_request_error',
          'authentication_error',
          'permission_error',
          'rate_limit_error',
          'server_error',
        ),
        code: word(...ALL_CODES.map((code) => code.toLowerCase())),
        param: { type: 'null' },
      }),
    },
    ['error'],
    { description: "An error in OpenAI's shape." },
  ),
  ChatRequest: object(
    {
      messages: {
        type: 'array',
        minItems: 1,
        items: { type: 'object' },
        description: 'The conversation so far.',
      },
      model,
      stream: {
        type: ['boolean', 'null'],
        description: 'Whether the answer comes as Server-Sent Events.',
      },
    },
    ['messages'],
    forwards,
  ),
  ChatCompletion: object(
    {
      id: text(),
      object: text(),
      created: { type: 'integer' },
      model: text(),
      choices: {
        type: 'array',
        items: object(
          {
            index: { type: 'integer' },
            message: { type: 'object' },
            finish_reason: { type: ['string', 'null'] },
          },
          ['message'],
        ),
      },
      usage,
    },
    ['choices'],
  ),
  ChatEvents: text(
    'One event `data: {"object": "chat.completion.chunk", …}` for each piece, then `data: [DONE]`. A failure after the first piece is ' +
      '`data: {"error": …}`, and there is no `[DONE]`.',
  ),
  EmbeddingsRequest: object(
    { input: { type: ['string', 'array'], description: 'A text, or a list of texts.' }, model },
    ['input'],
    forwards,
  ),
  Embeddings: object(
    {
      object: text(),
      model: text(),
      data: {
        type: 'array',
        items: object(
          {
            index: { type: 'integer' },
            embedding: { type: ['array', 'string'], description: 'Numbers, or base64.' },
          },
          ['embedding'],
        ),
      },
      usage,
    },
    ['data'],
  ),
  ImagesRequest: object({ prompt: prompt('What to show.'), model }, ['prompt'], forwards),
  Images: object(
    {
      created: { type: 'integer' },
      data: { type: 'array', items: object({ url: text(), b64_json: text() }, []) },
    },
    ['data'],
  ),
  SpeechRequest: object(
    { input: prompt('What to say.'), model, voice: text() },
    ['input'],
    forwards,
  ),
  Models: object({
    object: { const: 'list' },
    data: { type: 'array', items: object({ id: text() }) },
  }),
} as const satisfies Readonly<Record<string, Schema>>

export type SchemaName = keyof typeof SCHEMAS

export const refTo = (name: SchemaName): Schema => ({ $ref: `#/components/schemas/${name}` })

/** Only the schemas that some JSON refers to, directly or through another. */
export function referredBy(json: string): Readonly<Record<string, Schema>> {
  const used = new Set<string>()
  const visit = (text: string) => {
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (used.has(name)) continue
      used.add(name)
      visit(JSON.stringify(SCHEMAS[name as SchemaName]))
    }
  }
  visit(json)
  return Object.fromEntries(Object.entries(SCHEMAS).filter(([name]) => used.has(name)))
}
