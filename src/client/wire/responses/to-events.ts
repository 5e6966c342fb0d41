import { Frame, isRecord } from '../../../core/index.js'

type Fields = Readonly<Record<string, unknown>>

/**
 * Converts a complete response to the events of a stream, each item in one piece.
 * @see https://platform.openai.com/docs/api-reference/responses-streaming
 */
export function toEvents(response: Fields): Frame[] {
  const events: Fields[] = []
  const begun = { ...response, status: 'in_progress', output: [], usage: null }
  events.push({ type: 'response.created', response: begun })
  events.push({ type: 'response.in_progress', response: begun })
  const output = Array.isArray(response.output) ? response.output : []
  output.forEach((item, output_index) => {
    if (isRecord(item)) events.push(...itemEvents(item, output_index))
  })
  const last = response.status === 'incomplete' ? 'response.incomplete' : 'response.completed'
  events.push({ type: last, response })
  return events.map((event, sequence_number) => {
    const { type, ...rest } = event
    return new Frame(undefined, { type, sequence_number, ...rest }, String(type))
  })
}

function itemEvents(item: Fields, output_index: number): Fields[] {
  const begun = beginningOf(item)
  const parts = Array.isArray(item.content) ? item.content.filter(isRecord) : []
  const at = { item_id: item.id, output_index }
  return [
    { type: 'response.output_item.added', output_index, item: begun },
    ...(item.type === 'message'
      ? parts.flatMap((part, content_index) => partEvents(part, { ...at, content_index }))
      : []),
    ...(item.type === 'function_call' ? argumentEvents(item, at) : []),
    { type: 'response.output_item.done', output_index, item },
  ]
}

/** An item as a stream announces it: empty if its content is streamed, otherwise complete. */
function beginningOf(item: Fields): Fields {
  if (item.type === 'message') return { ...item, status: 'in_progress', content: [] }
  if (item.type === 'function_call') return { ...item, status: 'in_progress', arguments: '' }
  return item
}

function partEvents(part: Fields, at: Fields): Fields[] {
  const added = { type: 'response.content_part.added', ...at, part: emptied(part) }
  const done = { type: 'response.content_part.done', ...at, part }
  const { text, refusal, logprobs = [] } = part
  if (part.type === 'output_text')
    return [
      added,
      { type: 'response.output_text.delta', ...at, delta: text, logprobs },
      { type: 'response.output_text.done', ...at, text, logprobs },
      done,
    ]
  if (part.type === 'refusal')
    return [
      added,
      { type: 'response.refusal.delta', ...at, delta: refusal },
      { type: 'response.refusal.done', ...at, refusal },
      done,
    ]
  return [added, done]
}

const emptied = (part: Fields): Fields =>
  part.type === 'output_text'
    ? { ...part, text: '', annotations: [] }
    : part.type === 'refusal'
      ? { ...part, refusal: '' }
      : part

function argumentEvents(item: Fields, at: Fields): Fields[] {
  return [
    { type: 'response.function_call_arguments.delta', ...at, delta: item.arguments },
    {
      type: 'response.function_call_arguments.done',
      ...at,
      name: item.name,
      arguments: item.arguments,
    },
  ]
}
