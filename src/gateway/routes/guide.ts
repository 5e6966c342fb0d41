import { NotFoundError } from '../../client/errors.js'
import type { TextOptions, TextPiece } from '../../client/types.js'
import type { CacheMode } from '../../core/index.js'
import { toErrorFields } from '../../streams/problem.js'
import { rejection } from '../rejection.js'
import {
  BatchRequest,
  DEFAULT_MAX_TOKENS,
  GenerateRequest,
  MAX_PROMPTS,
  readBody,
} from '../schemas.js'
import type { Reply } from '../server/message.js'
import { events, json, streamFor } from '../server/reply.js'
import { requireAdmin } from './admin.js'
import { guideRoute, type Route, type RouteCall, type RouteTools } from './route.js'

/** @throws NotFoundError if the option `models` is set and does not list the model */
export function admitModel(
  model: string | null | undefined,
  { options: { models } }: RouteTools,
): void {
  if (models === undefined || typeof model !== 'string' || models.includes(model)) return
  throw new NotFoundError('There is no such model here.', {
    code: 'NOT_FOUND',
    status: 404,
    upstreamStatus: 404,
  })
}

/** The client's default model. */
const USUAL_MODEL = 'openai'

/** The model to use: the caller's, else the default, else the first one on the list. */
function modelOption(
  model: string | null | undefined,
  { options: { models } }: RouteTools,
): { model?: string } {
  const named =
    model ?? (models === undefined || models.includes(USUAL_MODEL) ? undefined : models[0])
  return named === undefined ? {} : { model: named }
}

/** Converts a request to the client's options. */
export function textOptions(
  { model, max_tokens, temperature }: GenerateRequest,
  call: RouteCall['call'],
  tools: RouteTools,
): TextOptions {
  admitModel(model, tools)
  return { ...call, maxTokens: max_tokens, temperature, ...modelOption(model, tools) }
}

async function readPrompt(
  { json, call }: RouteCall,
  tools: RouteTools,
  cache: CacheMode,
): Promise<{ prompt: string; options: TextOptions }> {
  const request = readBody(GenerateRequest, await json())
  return { prompt: request.prompt, options: { ...textOptions(request, call, tools), cache } }
}

/** The handler of `/generate/queued`, `/retry` and `/circuit-breaker`, which make the same call. */
async function generate(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const { prompt, options } = await readPrompt(call, tools, 'no-store')
  const { text } = await tools.blossom.text.generate(prompt, options)
  return json({ text })
}

async function generateText(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const { prompt, options } = await readPrompt(call, tools, 'no-store')
  const { text, model, usage } = await tools.blossom.text.generate(prompt, options)
  return json({ text, model, tokens_used: usage?.totalTokens ?? 0 })
}

async function generateCached(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const { prompt, options } = await readPrompt(call, tools, call.call.cache ?? 'default')
  const { text, cached } = await tools.blossom.text.generate(prompt, options)
  return json({ text, cached })
}

async function generateStream(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const { prompt, options } = await readPrompt(call, tools, 'no-store')
  // Await the first token before sending headers, so that an earlier failure has its own status.
  const stream = await tools.blossom.text.stream(prompt, options)
  const form = {
    data: (piece: TextPiece) => JSON.stringify(piece),
    error: (failure: unknown) => [
      {
        event: 'error',
        data: `[ERROR] ${JSON.stringify(toErrorFields(failure, call.requestId))}`,
      },
    ],
  }
  return events(streamFor(stream), form, call.delivery)
}

async function generateBatch(
  { json: read, call, requestId }: RouteCall,
  tools: RouteTools,
): Promise<Reply> {
  const body = await read()
  // The guide that these routes implement specifies this message.
  if (Array.isArray(body.prompts) && body.prompts.length > MAX_PROMPTS)
    throw rejection('VALIDATION', 400, `Too many prompts. Maximum is ${MAX_PROMPTS}.`)
  const { prompts, batch_size } = readBody(BatchRequest, body)
  const { meta: _, ...each } = call
  const results: unknown[] = []
  let processed = 0
  for await (const outcome of tools.blossom.text.batch(prompts as string[], {
    ...each,
    cache: 'no-store',
    concurrency: batch_size,
    order: 'input',
    maxTokens: DEFAULT_MAX_TOKENS,
    ...modelOption(undefined, tools),
  })) {
    if (outcome.ok) processed++
    results.push(outcome.ok ? outcome.text : { error: toErrorFields(outcome.error, requestId) })
  }
  return json({ total: prompts.length, processed, results })
}

async function poolStats(_: RouteCall, { view }: RouteTools): Promise<Reply> {
  return json(guidePoolStats(view))
}

/** The pool's stats, with the guide's field names. */
export function guidePoolStats(view: RouteTools['view']): object {
  const { pool } = view
  return pool === undefined
    ? {}
    : {
        max_connections: pool.max,
        active_connections: pool.active,
        available_connections: pool.available,
      }
}

async function queueStats(_: RouteCall, { view }: RouteTools): Promise<Reply> {
  const { waiting, running, completed, failed, concurrency } = view.queue!
  return json({
    queue_size: waiting,
    active_tasks: running,
    processed_count: completed + failed,
    max_concurrent: concurrency,
  })
}

async function clearCache({ incoming }: RouteCall, { options, view }: RouteTools): Promise<Reply> {
  requireAdmin(incoming, options, {
    none: 'The cache cannot be cleared, because the server has no admin token.',
    missing: 'Clearing the cache requires the admin token as a Bearer token.',
  })
  await view.clearCaches()
  return json({ message: 'Cache cleared' })
}

function generation(
  name: Route['name'],
  handle: Route['handle'],
  extra: Pick<Route, 'needs' | 'timeoutStatus'> = {},
): Route {
  return guideRoute('POST', `/generate/${name}`, { name, spends: true, handle, ...extra })
}

/** The routes of the guide, except for health. */
export const guideRoutes: readonly Route[] = [
  generation('text', generateText),
  generation('queued', generate, { needs: 'queue' }),
  generation('retry', generate, { needs: 'retry' }),
  // The guide specifies 408 here, although clients retry it.
  generation('circuit-breaker', generate, { needs: 'breaker', timeoutStatus: 408 }),
  generation('cached', generateCached, { needs: 'cache' }),
  generation('batch', generateBatch),
  generation('stream', generateStream),
  guideRoute('GET', '/pool/stats', { name: 'pool-stats', needs: 'pool', handle: poolStats }),
  guideRoute('GET', '/queue/stats', { name: 'queue-stats', needs: 'queue', handle: queueStats }),
  guideRoute('DELETE', '/cache/clear', {
    name: 'cache-clear',
    needs: 'cache',
    anyone: true,
    handle: clearCache,
  }),
]
