import type { GenericSchema } from 'valibot'
import { ANSWER } from '../../client/client.js'
import { ProtocolError } from '../../client/errors.js'
import type { BlossomAnswer, JsonAnswer } from '../../client/types.js'
import { toProblem } from '../../streams/index.js'
import { wrongFields } from '../schemas.js'
import type { EventForm } from '../server/event-body.js'
import { FieldsError, type Reply } from '../server/message.js'
import { events, jsonText, openAIError, streamFor } from '../server/reply.js'
import { admitModel } from './guide.js'
import type { RouteCall, RouteTools } from './route.js'

/** Fields that could redirect the request, or change the prototype of an object. */
const NEVER_FORWARDED: ReadonlySet<string> = new Set(['__proto__', 'apiKey', 'baseURL', 'headers'])

/** A body without what could redirect it. */
export function forwarded(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !NEVER_FORWARDED.has(name)))
}

/**
 * The body of a request, checked, and without what could redirect it.
 * @throws FieldsError for wrong fields; NotFoundError for a model that is not on the list
 */
export async function readForwarded(
  { json }: RouteCall,
  tools: RouteTools,
  schema: GenericSchema,
): Promise<Record<string, unknown>> {
  const body = await json()
  const wrong = wrongFields(schema, body)
  const model = body.model as string | null | undefined
  // With a list of models, upstream's own choice could be one that is not on it.
  if (tools.options.models !== undefined && (model === undefined || model === null))
    wrong.push({ field: 'model', message: 'is missing' })
  if (wrong.length > 0) throw new FieldsError(wrong)
  admitModel(model, tools)
  return forwarded(body)
}

/** What clients of OpenAI's API read of a failure. */
export function errorFor(failure: unknown, requestId: string) {
  const { status, body } = toProblem(failure, { requestId })
  return openAIError(status, body.code, body.detail, failure)
}

/** Events as a chat's: a failure is one that has it in `error`. */
const plainEvents = (requestId: string): EventForm<unknown> => ({
  error: (failure) => [{ data: JSON.stringify({ error: errorFor(failure, requestId) }) }],
})

/** What no browser runs or shows as a page. */
const MEDIA = /^(audio|image|video)\/(?!svg)|^application\/octet-stream\b/i
/** Transcripts, and subtitles. */
const TEXT = /^(text\/(plain|vtt|srt)|application\/x-subrip)\b/i

/** Sends a body to a path upstream; the answer goes out as it comes. */
export async function passOn(
  { call, requestId, delivery }: RouteCall,
  { client }: RouteTools,
  path: string,
  body: Record<string, unknown>,
  {
    form = plainEvents(requestId),
    headers = [],
  }: { form?: EventForm<unknown>; headers?: readonly string[] } = {},
): Promise<Reply> {
  const answer = await client[ANSWER]({ method: 'POST', path, body }, call, { headers })
  return replyFor(answer, { requestId, delivery }, { form })
}

/**
 * An answer of upstream's as it goes out.
 *
 * @param text whether it may be plain text
 */
export function replyFor(
  answer: BlossomAnswer,
  { requestId, delivery }: Pick<RouteCall, 'requestId' | 'delivery'>,
  {
    form = plainEvents(requestId),
    text = false,
  }: { form?: EventForm<unknown>; text?: boolean } = {},
): Reply {
  if (Symbol.asyncIterator in answer) return events(streamFor(answer), form, delivery)
  if ('bytes' in answer) {
    const { bytes, contentType } = answer
    // Whatever a browser could run or show as a page is not passed on.
    const isText = text && TEXT.test(contentType)
    if (!isText && !MEDIA.test(contentType))
      throw new ProtocolError('Upstream answered with a content type other than the one requested.')
    return {
      status: 200,
      headers: { 'content-type': isText ? 'text/plain; charset=utf-8' : contentType },
      body: bytes,
    }
  }
  return jsonOf(answer)
}

/** What came as text, and was judged, goes out as text. */
export function jsonOf({ data: { text } }: JsonAnswer): Reply {
  if (!/^\s*[{[]/.test(text))
    throw new ProtocolError('Upstream answered with JSON that is not an object.')
  return jsonText(text)
}
