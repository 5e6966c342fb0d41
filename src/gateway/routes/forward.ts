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

/** A body without the fields that could redirect the request. */
export function forwarded(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !NEVER_FORWARDED.has(name)))
}

/**
 * Reads and checks a body, and removes the fields that could redirect the request.
 * @throws FieldsError for invalid fields; NotFoundError for a model that is not allowed
 */
export async function readForwarded(
  { json }: RouteCall,
  tools: RouteTools,
  schema: GenericSchema,
): Promise<Record<string, unknown>> {
  const body = await json()
  const wrong = wrongFields(schema, body)
  const model = body.model as string | null | undefined
  // Without a model upstream would choose one, which may not be on the list.
  if (tools.options.models !== undefined && (model === undefined || model === null))
    wrong.push({ field: 'model', message: 'is missing' })
  if (wrong.length > 0) throw new FieldsError(wrong)
  admitModel(model, tools)
  return forwarded(body)
}

/** An error in OpenAI's format. */
export function errorFor(failure: unknown, requestId: string) {
  const { status, body } = toProblem(failure, { requestId })
  return openAIError(status, body.code, body.detail, failure)
}

/** The events of a chat. A failure is an event with the member `error`. */
const plainEvents = (requestId: string): EventForm<unknown> => ({
  error: (failure) => [{ data: JSON.stringify({ error: errorFor(failure, requestId) }) }],
})

/** Content types that a browser neither executes nor shows as a page. */
const MEDIA = /^(audio|image|video)\/(?!svg)|^application\/octet-stream\b/i
/** Content types of transcripts and subtitles. */
const TEXT = /^(text\/(plain|vtt|srt)|application\/x-subrip)\b/i

/** Sends a body to a path upstream, and returns the answer unchanged. */
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
 * Converts upstream's answer to a reply.
 *
 * @param text whether plain text is allowed
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
    // Do not pass on what a browser could execute or show as a page.
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

/** A reply with the JSON text that arrived, which has already been checked. */
export function jsonOf({ data: { text } }: JsonAnswer): Reply {
  if (!/^\s*[{[]/.test(text))
    throw new ProtocolError('Upstream answered with JSON that is not an object.')
  return jsonText(text)
}
