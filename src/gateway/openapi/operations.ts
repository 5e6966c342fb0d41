import type { RouteName } from '../routes/names.js'
import { MAX_PROMPTS } from '../schemas.js'
import { BATCH_OPERATIONS } from './batches.js'
import { asJson, type Operation } from './operation.js'
import type { FailureStatus } from './responses.js'
import { refTo, type SchemaName } from './schemas.js'
import { STREAM_OPERATIONS } from './streams.js'

const PROMPT = 'Why do flowers bloom?'
const ANSWER = 'To be seen by those who carry their pollen.'
const GENERATE = { prompt: PROMPT, max_tokens: 100, temperature: 0.7 }

const events = (schema: SchemaName, example: string): Operation['success'] => ({
  'text/event-stream': { schema: refTo(schema), example },
})

/** Failures caused by the request's body. */
const BODY: readonly FailureStatus[] = [400, 413, 415]
/** Failures of the call to upstream. */
const UPSTREAM: readonly FailureStatus[] = [404, 429, 500, 502, 503, 504]
const CALL: readonly FailureStatus[] = [...BODY, 422, ...UPSTREAM]

const generation = (summary: string, extra: Partial<Operation> = {}): Operation => ({
  summary,
  tag: 'Generation',
  request: { schema: 'GenerateRequest', example: GENERATE },
  success: asJson('TextResponse', { text: ANSWER }),
  failures: CALL,
  headers: ['ServerTiming'],
  ...extra,
})

const openai = (
  summary: string,
  schema: SchemaName,
  example: unknown,
  success: Operation['success'],
): Operation => ({
  summary,
  tag: 'OpenAI',
  request: { schema, example },
  success,
  failures: CALL,
  headers: ['ServerTiming', 'Cache'],
})

const upload = (summary: string, schema: SchemaName, success: Operation['success']): Operation => ({
  summary,
  description:
    'The form is streamed to upstream as it arrives, so the request is not retried. If the server restricts models, `model` must come before the files.',
  tag: 'OpenAI',
  request: { schema, type: 'multipart/form-data' },
  success,
  failures: CALL,
  headers: ['ServerTiming'],
})

const state = (summary: string, schema: SchemaName, extra: Partial<Operation> = {}): Operation => ({
  summary,
  tag: 'State',
  success: asJson(schema),
  failures: [500],
  ...extra,
})

/** Every route. A name without an entry does not compile. */
export const OPERATIONS: Readonly<Record<RouteName, Operation>> = {
  text: generation('Generate a text', {
    success: asJson('GeneratedText', { text: ANSWER, model: 'openai', tokens_used: 24 }),
  }),
  queued: generation('Generate a text through the queue', {
    description:
      'Calls above the limit wait. If too many are waiting already, the answer is 503 with `Retry-After`.',
  }),
  retry: generation('Generate a text, with retries', {
    description: 'Only temporary failures are retried, and never sooner than `Retry-After` allows.',
  }),
  'circuit-breaker': generation('Generate a text behind a circuit breaker', {
    description:
      'After too many failures the answer is an immediate 503 with `Retry-After`, until upstream works again.',
    failures: [...BODY, 422, 408, ...UPSTREAM],
    meanings: { 504: 'Upstream answered 504.' },
  }),
  cached: generation('Generate a text, or return it from the cache', {
    success: asJson('CachedText', { text: ANSWER, cached: true }),
    headers: ['ServerTiming', 'Cache'],
  }),
  batch: generation('Generate many texts', {
    description: `At most ${MAX_PROMPTS} prompts. If a prompt fails, its entry in the results is an error; the status is still 200.`,
    request: {
      schema: 'BatchRequest',
      example: { prompts: [PROMPT, 'Why is the sky blue?'], batch_size: 5 },
    },
    success: asJson('BatchResponse', {
      total: 2,
      processed: 1,
      results: [
        ANSWER,
        { error: { code: 'TIMEOUT', message: 'The answer was not complete in time.' } },
      ],
    }),
    failures: [...BODY, 500, 503],
    headers: [],
  }),
  stream: generation('Generate a text as a stream', {
    description:
      'Server-Sent Events. A failure before the first piece is answered with an error status.',
    success: events(
      'TextEvents',
      'data: {"text":"To be"}\n\ndata: {"text":" seen."}\n\ndata: [DONE]\n\n',
    ),
  }),
  'pool-stats': state('Get connection statistics', 'PoolStats'),
  'queue-stats': state('Get queue statistics', 'QueueStats'),
  'cache-clear': {
    summary: 'Clear the cache',
    tag: 'Administration',
    success: asJson('CacheCleared'),
    failures: [401, 403, 500],
    meanings: {
      401: 'The Bearer token is missing.',
      403: 'The token is wrong, or the server has no admin token.',
    },
    needsAdmin: true,
  },
  health: state('Check health', 'Health', {
    unavailable: {
      schema: 'Health',
      description: 'The breaker is open, or the server is shutting down.',
    },
  }),
  'health-live': state('Check liveness: whether the process responds', 'Alive'),
  'health-ready': state('Check readiness: whether the server should get traffic', 'Readiness', {
    unavailable: { schema: 'Readiness', description: 'The server should not get traffic now.' },
  }),
  metrics: {
    summary: 'Get metrics for Prometheus',
    tag: 'State',
    success: { 'text/plain': { schema: { type: 'string' } } },
    failures: [401, 500],
    meanings: { 401: 'The Bearer token for the metrics is missing or wrong.' },
  },
  live: {
    summary: 'Open the live view of the stack, which asks for the admin token',
    tag: 'State',
    success: { 'text/html': { schema: { type: 'string' } } },
    failures: [500],
  },
  openapi: {
    summary: 'Get this document',
    tag: 'Documentation',
    success: { 'application/json': { schema: { type: 'object' } } },
    failures: [500],
  },
  docs: {
    summary: 'Open the page that shows this document',
    tag: 'Documentation',
    success: { 'text/html': { schema: { type: 'string' } } },
    failures: [404, 500],
    meanings: { 404: 'The viewer is not installed on the server.' },
  },
  'v1-chat': openai(
    'Create a chat completion',
    'ChatRequest',
    { model: 'openai', messages: [{ role: 'user', content: PROMPT }] },
    {
      ...asJson('ChatCompletion'),
      ...events(
        'ChatEvents',
        'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"To"}}]}\n\ndata: [DONE]\n\n',
      ),
    },
  ),
  'v1-responses': openai(
    "Create a response (OpenAI's Responses API)",
    'ResponsesRequest',
    { model: 'openai', input: PROMPT },
    {
      ...asJson('Response'),
      ...events(
        'ResponseEvents',
        'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":4,"delta":"To"}\n\n',
      ),
    },
  ),
  'v1-messages': openai(
    "Create a message (Anthropic's Messages API)",
    'MessagesRequest',
    { model: 'openai', max_tokens: 100, messages: [{ role: 'user', content: PROMPT }] },
    {
      ...asJson('Message'),
      ...events(
        'MessageEvents',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"To"}}\n\n',
      ),
    },
  ),
  'v1-completions': openai(
    'Create a text completion',
    'CompletionsRequest',
    { model: 'openai', prompt: PROMPT },
    {
      ...asJson('TextCompletion'),
      ...events('ChatEvents', 'data: {"choices":[{"text":"To"}]}\n\n'),
    },
  ),
  'v1-embeddings': openai(
    'Create embeddings',
    'EmbeddingsRequest',
    { input: PROMPT },
    asJson('Embeddings'),
  ),
  'v1-models': {
    summary: 'List models',
    tag: 'OpenAI',
    success: asJson('Models'),
    failures: UPSTREAM,
    headers: ['ServerTiming', 'Cache'],
  },
  'v1-model': {
    summary: 'Get a model',
    tag: 'OpenAI',
    success: asJson('Model'),
    failures: UPSTREAM,
    headers: ['ServerTiming', 'Cache'],
  },
  'v1-moderations': openai(
    'Classify content',
    'ModerationsRequest',
    { input: PROMPT },
    asJson('Moderation'),
  ),
  'v1-images': openai(
    'Generate images',
    'ImagesRequest',
    { prompt: 'A garden at dawn' },
    asJson('Images'),
  ),
  'v1-image-edits': upload('Edit images', 'ImageEditsForm', asJson('Images')),
  'v1-transcriptions': upload('Transcribe speech', 'TranscriptionForm', {
    ...asJson('Transcript'),
    'text/plain': { schema: { type: 'string' } },
  }),
  // No schema: bytes have none in OpenAPI 3.1.
  'v1-speech': openai(
    'Generate speech',
    'SpeechRequest',
    { input: ANSWER, voice: 'alloy' },
    { 'audio/*': {} },
  ),
  ...STREAM_OPERATIONS,
  ...BATCH_OPERATIONS,
}
