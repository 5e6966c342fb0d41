import { isRecord, type StackError } from '../../core/index.js'
import type { BodyContext } from './body.js'
import { isEmpty } from './choices.js'
import { firstChoice, textIn, textOf } from './completion.js'
import { factsOf, headerOf } from './failure.js'
import { noticeError } from './upstream-error.js'

// Since September 2026 Pollinations answers with status 200 and a notice as the assistant's text if
// the balance or budget is used up or the key may not use the model. A prompt can make a model write
// the same sentence, and other upstreams send the same header, so several signs must agree.

type About = Parameters<typeof noticeError>[0]

/** How the notices begin. Each also contains a link to `LINK`. */
const BEGINNINGS: readonly (readonly [string, About])[] = [
  ['The API key used for this request has reached its budget.', 'payment'],
  ['The API key used for this request only spends Quest Pollen', 'payment'],
  ["The account behind this API key doesn't have enough credits.", 'payment'],
  ["The API key used for this request isn't allowed to use", 'permission'],
]
const LINK = 'enter.pollinations.ai'

/** Whether the headers allow a notice: unlike real answers, notices forbid caching. */
export function mayBeNotice({ headers, settings }: BodyContext): boolean {
  if (settings.notices === 'pass') return false
  const directives = (headerOf(headers, 'cache-control') ?? '').toLowerCase().split(/\s*,\s*/)
  return directives.includes('private') && directives.includes('no-store')
}

/** The error for a text that is a notice. Call it only if `mayBeNotice`. */
export function noticeInText(text: string, exchange: BodyContext): StackError | undefined {
  const begun = text.trimStart().replaceAll('’', "'")
  const [, about] = BEGINNINGS.find(([beginning]) => begun.startsWith(beginning)) ?? []
  if (about === undefined || !text.includes(LINK)) return undefined
  const { headers, settings } = exchange
  return noticeError(about, factsOf(headers, { message: text }, settings.apiKey))
}

/** The error for a complete answer that is a notice, whose usage must also be 0. */
export function noticeInAnswer(data: unknown, exchange: BodyContext): StackError | undefined {
  if (!mayBeNotice(exchange) || !isRecord(data)) return undefined
  if (!isRecord(data.usage) || !isEmpty(data.usage)) return undefined
  return noticeInText(answerText(data), exchange)
}

/** The text that a chunk of a chat, or an event of a Responses or Messages stream, adds. */
export function addedText(event: unknown): string {
  if (!isRecord(event)) return ''
  const { type, delta } = event
  if (type === 'response.output_text.delta') return typeof delta === 'string' ? delta : ''
  if (type === 'content_block_delta')
    return isRecord(delta) && typeof delta.text === 'string' ? delta.text : ''
  return textOf(event)
}

/** The text of a chat completion or a message, or the first text of a Responses answer. */
function answerText(data: Readonly<Record<string, unknown>>): string {
  if (data.type === 'message') return textIn(data.content)
  const message: unknown = firstChoice(data)?.message
  if (isRecord(message)) return textIn(message.content)
  for (const item of Array.isArray(data.output) ? data.output : [])
    if (isRecord(item) && textIn(item.content) !== '') return textIn(item.content)
  return ''
}
