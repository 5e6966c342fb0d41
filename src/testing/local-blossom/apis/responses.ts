import { type ChatAnswer, type ChatQuestion, CREATED, readChat } from '../chat.js'
import { bad, COUNT, type Fields, field, isObject, isText, LIST, OBJECT, TEXT } from '../fields.js'
import { type Frames, groups } from '../frames.js'
import { pieces } from '../text.js'

/**
 * Validates the body of `POST /v1/responses` and converts it to a chat question. Nothing is stored
 * between calls (Pollinations gateway documentation, 2026-11).
 *
 * @throws {Refusal} (status 400) that names the field
 * @internal
 */
export function readResponses(body: Fields): ChatQuestion {
  if (body.store === true) throw bad('store', 'must be false: responses are not stored')
  if (isText(body.previous_response_id)) throw bad('previous_response_id', 'is not supported')
  const { input } = body
  if (!isText(input) && !Array.isArray(input)) throw bad('input', 'must be a string or a list')
  const instructions = field(body, 'instructions', TEXT)
  const said = isText(input) ? [{ role: 'user', content: input }] : input.map(messageOf)
  const format = field(field(body, 'text', OBJECT) ?? {}, 'format', OBJECT) ?? { type: 'text' }
  return readChat({
    ...body,
    messages: [
      ...(instructions === undefined ? [] : [{ role: 'system', content: instructions }]),
      ...said,
    ],
    max_completion_tokens: field(body, 'max_output_tokens', COUNT),
    reasoning_effort: field(body, 'reasoning', OBJECT)?.effort,
    response_format:
      format.type === 'json_schema' ? { type: 'json_schema', json_schema: format } : format,
    tools: (field(body, 'tools', LIST) ?? []).map((tool) => ({ type: 'function', function: tool })),
    tool_choice: isObject(body.tool_choice) ? { function: body.tool_choice } : body.tool_choice,
    stream_options: { include_usage: true },
  })
}

function messageOf(item: unknown): Fields {
  if (!isObject(item)) throw bad('input', 'must contain only objects')
  switch (item.type ?? 'message') {
    case 'message':
      return { role: item.role, content: item.content }
    case 'function_call':
      return { role: 'assistant', content: `${String(item.name)}(${String(item.arguments)})` }
    case 'function_call_output':
      return { role: 'tool', content: item.output }
    case 'reasoning':
      return { role: 'assistant', content: '' }
    default:
      throw bad('input', 'contains an item of an unknown type')
  }
}

/** Converts an answer to a `response`. @internal */
export function toResponse(answer: ChatAnswer): Fields {
  const { id, model, finishReason, usage } = answer
  const isCut = finishReason === 'length'
  return {
    id: `resp_${id}`,
    object: 'response',
    created_at: CREATED,
    status: isCut ? 'incomplete' : 'completed',
    error: null,
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    instructions: null,
    metadata: {},
    model,
    output: itemsOf(answer),
    parallel_tool_calls: true,
    previous_response_id: null,
    store: false,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    usage: {
      input_tokens: usage.prompt_tokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: usage.completion_tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: usage.total_tokens,
    },
  }
}

function itemsOf({ id, content, reasoning, toolCall, finishReason }: ChatAnswer): Fields[] {
  const items: Fields[] = []
  if (reasoning !== undefined)
    items.push({
      id: `rs_${id}`,
      type: 'reasoning',
      summary: [{ type: 'summary_text', text: reasoning }],
    })
  if (content !== null)
    items.push({
      id: `msg_${id}`,
      type: 'message',
      status: finishReason === 'length' ? 'incomplete' : 'completed',
      role: 'assistant',
      content: [textPart(content)],
    })
  if (toolCall !== undefined)
    items.push({
      id: `fc_${id}`,
      type: 'function_call',
      status: 'completed',
      call_id: toolCall.id,
      ...toolCall.function,
    })
  return items
}

const textPart = (text: string): Fields => ({ type: 'output_text', text, annotations: [] })

/** Fields that are still empty when an item starts. */
const EMPTY: Readonly<Record<string, Fields>> = {
  message: { content: [] },
  function_call: { arguments: '' },
  reasoning: { summary: [] },
}

/** Cuts an answer into the events of a stream, a few words each. @internal */
export function toResponseFrames(answer: ChatAnswer, words: number): Frames {
  const response = toResponse(answer)
  let sequence_number = 0
  const frame = (type: string, fields: Fields) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence_number++, ...fields })}\n\n`
  const begun = { response: { ...response, status: 'in_progress', output: [], usage: null } }
  const head = frame('response.created', begun) + frame('response.in_progress', begun)
  const content: string[] = []
  itemsOf(answer).forEach((item, output_index) => {
    const at = { item_id: item.id, output_index }
    const added = { ...item, ...EMPTY[String(item.type)], status: 'in_progress' }
    content.push(frame('response.output_item.added', { output_index, item: added }))
    if (item.type === 'message') {
      const here = { ...at, content_index: 0 }
      const part = textPart(answer.content ?? '')
      content.push(frame('response.content_part.added', { ...here, part: textPart('') }))
      for (const delta of groups(pieces(answer.content ?? ''), words))
        content.push(frame('response.output_text.delta', { ...here, delta }))
      content.push(frame('response.output_text.done', { ...here, text: part.text }))
      content.push(frame('response.content_part.done', { ...here, part }))
    }
    if (item.type === 'function_call') {
      const called = String(item.arguments)
      content.push(frame('response.function_call_arguments.delta', { ...at, delta: called }))
      content.push(frame('response.function_call_arguments.done', { ...at, arguments: called }))
    }
    content.push(frame('response.output_item.done', { output_index, item }))
  })
  const last = `response.${String(response.status)}`
  return {
    head,
    content,
    tail: [frame(last, { response })],
    chunkOf: (delta) =>
      frame('response.output_text.delta', { item_id: 'msg_', output_index: 0, delta }),
    done: '',
  }
}
