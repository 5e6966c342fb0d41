import type { ErrorCode } from '../../core/index.js'
import { BATCH_ANSWERS } from './batch-answers.js'

/** A JSON Schema in the dialect of OpenAPI 3.1, draft 2020-12. */
export type Schema = Readonly<Record<string, unknown>>

/** Each error code and its meaning. A code without one does not compile. */
const CODES: Readonly<Record<ErrorCode | 'INTERNAL', string>> = {
  VALIDATION: 'the request is not valid',
  AUTH: 'a credential is missing or invalid',
  PAYMENT: 'a balance is used up',
  FORBIDDEN: 'the credential does not allow this',
  NOT_FOUND: 'no such route or model',
  RATE_LIMITED: 'too many requests',
  BAD_REQUEST: 'upstream rejected the request',
  SERVER: 'upstream failed',
  NETWORK: 'upstream cannot be reached',
  TIMEOUT: 'no complete answer in time',
  PROTOCOL: 'upstream sent an invalid answer',
  STREAM: 'the answer broke off',
  TOO_LARGE: 'the request or the answer is too large',
  QUEUE_FULL: 'too many calls are waiting',
  BREAKER_OPEN: 'upstream failed too often, so calls are rejected for a while',
  BUDGET: 'the budget for calls is used up',
  CLOSED: 'the server is shutting down',
  OWNER_LOST: 'the server that ran the stream was lost',
  STOPPED: 'the stream was stopped',
  CONFIG: 'the server is misconfigured',
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

const errorMembers = {
  code: {
    type: 'string',
    enum: ALL_CODES,
    description: `${Object.entries(CODES)
      .map(([code, meaning]) => `\`${code}\`: ${meaning}`)
      .join('; ')}.`,
  },
  message: text(),
  requestId: text('The id of this request, as in the log.'),
}

const usage = { type: 'object', description: 'Token counts, if upstream reports them.' }

/** The bodies of answers. */
export const ANSWERS = {
  TextResponse: object({ text: text() }),
  GeneratedText: object({
    text: text(),
    model: text('The model that answered.'),
    tokens_used: count('0 if upstream did not report it.'),
  }),
  CachedText: object({
    text: text(),
    cached: { type: 'boolean', description: 'Whether the text came from the cache.' },
  }),
  BatchResponse: object({
    total: count('Number of prompts.'),
    processed: count('Number of prompts that were answered.'),
    results: {
      type: 'array',
      description: 'One result for each prompt, in the same order.',
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
    queue_size: count('Number of waiting calls.'),
    active_tasks: count('Number of running calls.'),
    processed_count: count('Number of calls that have ended, including failed ones.'),
    max_concurrent: { type: 'integer', minimum: 1 },
  }),
  CacheCleared: object({ message: { const: 'Cache cleared' } }),
  Health: object({
    status: word('healthy', 'unhealthy', 'draining'),
    timestamp: { type: 'string', format: 'date-time' },
    uptime_seconds: { type: 'number', minimum: 0 },
    pool_stats: {
      anyOf: [{ $ref: '#/components/schemas/PoolStats' }, { type: 'object', maxProperties: 0 }],
      description: 'Empty if the server has no pool.',
    },
    circuit_breaker_state: word('closed', 'open', 'half_open', 'unknown'),
    breakers: object({
      open: count('Number of open circuits.'),
      total: count('Number of circuits that had calls: one for each model, or one for all.'),
    }),
  }),
  Alive: object({ status: { const: 'ok' } }),
  Readiness: object({ status: word('ready', 'unhealthy', 'draining') }),
  Problem: object(
    {
      type: text(),
      title: text('Name of the HTTP status.'),
      status: { type: 'integer', minimum: 400, maximum: 599 },
      detail: text('What went wrong, in one sentence.'),
      instance: text(),
      code: errorMembers.code,
      requestId: errorMembers.requestId,
      errors: {
        type: 'array',
        minItems: 1,
        items: object({ field: text(), message: text() }),
        description: 'The invalid fields.',
      },
    },
    ['type', 'title', 'status', 'detail', 'code'],
    { description: 'Problem details (RFC 9457). Programs should rely on `code`.' },
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
        param: { type: ['string', 'null'], description: 'The invalid field, if there is one.' },
      }),
    },
    ['error'],
    { description: "An error in OpenAI's format." },
  ),
  AnthropicError: object(
    {
      type: { const: 'error' },
      error: object({ type: text(), message: text() }),
      request_id: text('The id of this request, as in the log.'),
    },
    ['type', 'error'],
    { description: "An error in Anthropic's format." },
  ),
  Message: object(
    {
      id: text(),
      type: { const: 'message' },
      role: { const: 'assistant' },
      model: text(),
      content: { type: 'array', items: { type: 'object' } },
      stop_reason: { type: ['string', 'null'] },
      usage,
    },
    ['content'],
  ),
  MessageEvents: text(
    'The events of a message, each named by its `type`, from `message_start` to `message_stop`. A failure after the first piece is `event: error` with ' +
      '`{"type": "error", "error": {"type", "message"}}`.',
  ),
  TextCompletion: object(
    {
      id: text(),
      object: text(),
      model: text(),
      choices: { type: 'array', items: object({ text: text() }) },
      usage,
    },
    ['choices'],
  ),
  ImageEditsForm: object(
    {
      model: text(),
      prompt: text('How to change the image.'),
      image: { contentMediaType: 'application/octet-stream' },
    },
    ['prompt', 'image'],
  ),
  TranscriptionForm: object(
    { model: text(), file: { contentMediaType: 'application/octet-stream' } },
    ['file'],
  ),
  Transcript: object({ text: text() }),
  Model: object({ id: text() }),
  Moderation: object({ results: { type: 'array', items: { type: 'object' } } }, ['results']),
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
  Response: object(
    {
      id: text(),
      object: { const: 'response' },
      status: word('completed', 'incomplete'),
      model: text(),
      output: {
        type: 'array',
        items: { type: 'object' },
        description: 'Messages and tool calls.',
      },
      usage: { ...usage, type: ['object', 'null'] },
    },
    ['output'],
  ),
  ResponseEvents: text(
    'The events of a response, each named by its `type`, from `response.created` to `response.completed` or `response.incomplete`. A failure after ' +
      'the first piece is `{"type": "error", "code", "message", "param"}` and then `response.failed`.',
  ),
  ResumedEvents: text(
    'The remaining events of the stream, each with its `id`. If the server that ran the stream was lost, ' +
      'the last event is an error with the code `owner_lost`, and there is no `[DONE]`.',
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
  Images: object(
    {
      created: { type: 'integer' },
      data: { type: 'array', items: object({ url: text(), b64_json: text() }, []) },
    },
    ['data'],
  ),
  Models: object({
    object: { const: 'list' },
    data: { type: 'array', items: object({ id: text() }) },
  }),
  ...BATCH_ANSWERS,
} as const satisfies Readonly<Record<string, Schema>>
