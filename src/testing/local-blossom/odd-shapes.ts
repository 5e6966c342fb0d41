import type { Fields } from './fields.js'
import type { Frames } from './frames.js'

/**
 * Unusual forms that real upstreams and proxies send, each of which has broken a client. All but
 * the last five apply to chat answers, streamed or not.
 *
 * - `emptyReason`: every `finish_reason` is empty.
 * - `openChoice`: another choice starts and does not end.
 * - `failedChoice`: the choice ends with `finish_reason: "error"` and its own error.
 * - `filtered`: the answer ends with `content_filter`.
 * - `nothing`: the answer is empty.
 * - `emptyHead`: the first chunk has an empty id and model, and 0 for `created`.
 * - `nullChoices`: the last chunk has usage and `choices: null`.
 * - `pings`: keep-alive data, and events with another name.
 * - `parts`: the content is a list of parts.
 * - `reasoning`, `images`: the text is in `reasoning`, or comes with a picture.
 * - `sharedIndex`: every tool call has the index 0.
 * - `blanks`: `[DONE]` is surrounded by spaces.
 * - `notice`: a notice about the account replaces the answer.
 * - `mark`: a byte order mark comes first.
 * - `label`: JSON is labelled as events, and events as JSON.
 * - `detail`, `errors`, `errorObject`: a 200 with an error that is not in `error`.
 */
export const ODD_SHAPES = [
  'emptyReason',
  'openChoice',
  'failedChoice',
  'filtered',
  'nothing',
  'emptyHead',
  'nullChoices',
  'pings',
  'parts',
  'reasoning',
  'images',
  'sharedIndex',
  'blanks',
  'notice',
  'mark',
  'label',
  'detail',
  'errors',
  'errorObject',
] as const
/** An unusual form that real upstreams send. */
export type OddShape = (typeof ODD_SHAPES)[number]

const NOTICE =
  'The API key used for this request has reached its budget. Top up at https://enter.pollinations.ai.'

/** The changes to an answer's head, as fields of a fault. @internal */
export function oddHead(shape: OddShape, isStream: boolean) {
  if (shape === 'notice') return { headers: { 'cache-control': 'private, no-store' } }
  if (shape !== 'label') return {}
  return { contentType: isStream ? 'application/json' : 'text/event-stream' }
}

const ERRORS: Partial<Record<OddShape, object>> = {
  detail: { detail: 'Not today.' },
  errors: { errors: [{ code: 'SERVICE_UNAVAILABLE', message: 'Not today.' }] },
  errorObject: { object: 'error', message: 'Not today.', code: 503 },
}

type Choice = Record<string, unknown>
type Chat = Record<string, unknown> & { choices: Choice[] }

const ZERO = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }
const FAILED = { finish_reason: 'error', error: { code: 503, message: 'The provider failed.' } }

/** Converts the JSON of an answer to an unusual form. @internal */
export function oddBody(body: Buffer, shape: OddShape): Buffer {
  const error = ERRORS[shape]
  if (error !== undefined) return Buffer.from(JSON.stringify(error))
  if (shape === 'mark') return Buffer.concat([Buffer.from('\ufeff'), body])
  let data: Chat
  try {
    data = JSON.parse(body.toString('utf8')) as Chat
  } catch {
    return body
  }
  if (!Array.isArray(data.choices)) return body
  if (shape === 'notice') data.usage = ZERO
  if (shape === 'openChoice')
    data.choices.push({
      index: 1,
      message: { role: 'assistant', content: 'Hm' },
      finish_reason: null,
    })
  for (const choice of data.choices) {
    choice.message = oddMessage(choice.message as Fields, shape)
    alterEnd(choice, shape)
  }
  return Buffer.from(JSON.stringify(data))
}

/** Converts a stream to an unusual form. @internal */
export function oddFrames(frames: Frames, shape: OddShape): Frames {
  const events = [frames.head, ...frames.content, ...frames.tail]
  if (shape === 'blanks') return { ...frames, tail: [...frames.tail, 'data:  [DONE]  \n\n'] }
  const [head = '', ...content] = oddEvents(events, shape)
  return { ...frames, head, content, tail: [] }
}

function oddEvents(events: readonly string[], shape: OddShape): string[] {
  const error = ERRORS[shape]
  if (error !== undefined) return [eventOf(error)]
  if (shape === 'mark') return events.map((event, i) => (i === 0 ? `\ufeff${event}` : event))
  const isContent = (chunk: Chat | undefined) =>
    typeof (chunk?.choices[0]?.delta as Fields | undefined)?.content === 'string'
  let noticed = false
  return events.flatMap((event, i) => {
    const chunk = chunkOf(event)
    if (chunk === undefined) return [event]
    if (shape === 'notice' && isContent(chunk)) {
      if (noticed) return []
      noticed = true
    }
    if (shape === 'emptyHead' && i === 0) Object.assign(chunk, { id: '', model: '', created: 0 })
    if (shape === 'notice' && chunk.usage) chunk.usage = ZERO
    for (const choice of chunk.choices) {
      choice.delta = oddMessage(choice.delta as Fields, shape)
      alterEnd(choice, shape)
    }
    const altered = eventOf(chunk)
    if (shape === 'pings')
      return [eventOf({ type: 'ping' }), `event: progress\n${eventOf({ percent: i })}`, altered]
    if (shape === 'openChoice' && i === 1)
      return [
        eventOf({
          ...chunk,
          choices: [{ index: 1, delta: { content: 'Hm' }, finish_reason: null }],
        }),
        altered,
      ]
    const isEnd = chunk.choices.some(({ finish_reason }) => finish_reason)
    return shape === 'nullChoices' && isEnd
      ? [altered, eventOf({ ...chunk, choices: null, usage: ZERO })]
      : [altered]
  })
}

const eventOf = (data: object): string => `data: ${JSON.stringify(data)}\n\n`

function chunkOf(event: string): Chat | undefined {
  try {
    const chunk = JSON.parse(event.replace(/^data: /, '')) as Chat
    return Array.isArray(chunk.choices) ? chunk : undefined
  } catch {
    return undefined
  }
}

/** Converts a message, or the delta of a chunk, to an unusual form. */
function oddMessage(message: Fields, shape: OddShape): Fields {
  const { content, tool_calls, ...rest } = message
  if (shape === 'sharedIndex' && Array.isArray(tool_calls))
    return { ...message, tool_calls: tool_calls.map((call: object) => ({ ...call, index: 0 })) }
  if (typeof content !== 'string') return message
  switch (shape) {
    case 'nothing':
      return { ...rest, content: '' }
    case 'notice':
      return { ...rest, content: NOTICE }
    case 'parts':
      return { ...rest, content: [{ type: 'text', text: content }] }
    case 'reasoning':
      return { ...rest, content: '', reasoning: content }
    case 'images':
      return { ...message, images: [{ type: 'image_url', image_url: { url: 'data:,' } }] }
    default:
      return message
  }
}

function alterEnd(choice: Choice, shape: OddShape): void {
  if (shape === 'emptyReason') choice.finish_reason = ''
  if (!choice.finish_reason) return
  if (shape === 'filtered') choice.finish_reason = 'content_filter'
  if (shape === 'failedChoice') Object.assign(choice, FAILED)
}
