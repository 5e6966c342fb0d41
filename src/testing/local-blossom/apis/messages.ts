import { type ChatAnswer, type ChatQuestion, readChat } from '../chat.js'
import { bad, COUNT, type Fields, field, isObject, LIST } from '../fields.js'
import { type Frames, groups } from '../frames.js'
import { pieces } from '../text.js'

/**
 * Validates the body of `POST /v1/messages` (Anthropic's format) and converts it to a chat
 * question.
 *
 * @throws {Refusal} (status 400) that names the field
 * @internal
 */
export function readMessages(body: Fields): ChatQuestion {
  const { system, messages } = body
  if (!Array.isArray(messages)) throw bad('messages', 'must be a list')
  const limit = field(body, 'max_tokens', COUNT)
  if (limit === undefined) throw bad('max_tokens', 'is missing')
  const choice = isObject(body.tool_choice) ? body.tool_choice : {}
  return readChat({
    model: body.model,
    messages: [
      ...(system === undefined ? [] : [{ role: 'system', content: system }]),
      ...messages.map(messageOf),
    ],
    max_tokens: limit,
    temperature: body.temperature,
    stop: body.stop_sequences,
    stream: body.stream,
    tools: (field(body, 'tools', LIST) ?? []).map((tool) => ({
      type: 'function',
      function: isObject(tool) ? { name: tool.name, parameters: tool.input_schema } : tool,
    })),
    tool_choice: choice.type === 'any' ? 'required' : undefined,
  })
}

/** Converts a message. One that contains a tool's result becomes a message of the tool. */
function messageOf(message: unknown): Fields {
  if (!isObject(message)) throw bad('messages', 'must contain only objects')
  const { role, content } = message
  const gives =
    Array.isArray(content) && content.some((part) => isObject(part) && part.type === 'tool_result')
  return gives ? { role: 'tool', content: 'given' } : { role, content }
}

const STOPS = { stop: 'end_turn', length: 'max_tokens', tool_calls: 'tool_use' } as const

/** Converts an answer to a `message`. @internal */
export function toMessage(answer: ChatAnswer): Fields {
  const { id, model, finishReason, usage } = answer
  return {
    id: `msg_${id}`,
    type: 'message',
    role: 'assistant',
    model,
    content: blocksOf(answer),
    stop_reason: STOPS[finishReason],
    stop_sequence: null,
    usage: { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens },
  }
}

function blocksOf({ id, content, toolCall }: ChatAnswer): Fields[] {
  const blocks: Fields[] = []
  if (content !== null) blocks.push({ type: 'text', text: content })
  if (toolCall !== undefined) {
    const { name, arguments: given } = toolCall.function
    blocks.push({ type: 'tool_use', id: `toolu_${id}`, name, input: JSON.parse(given) })
  }
  return blocks
}

/** Cuts an answer into the events of a stream, a few words each. @internal */
export function toMessageFrames(answer: ChatAnswer, words: number): Frames {
  const message = toMessage(answer)
  const { usage } = answer
  const frame = (type: string, fields: Fields) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
  const textOf = (text: string, index = 0) =>
    frame('content_block_delta', { index, delta: { type: 'text_delta', text } })
  const begun = { input_tokens: usage.prompt_tokens, output_tokens: 1 }
  const content: string[] = []
  blocksOf(answer).forEach((block, index) => {
    const empty = block.type === 'text' ? { text: '' } : { input: {} }
    content.push(frame('content_block_start', { index, content_block: { ...block, ...empty } }))
    if (index === 0) content.push(frame('ping', {}))
    if (block.type === 'text')
      for (const text of groups(pieces(answer.content ?? ''), words))
        content.push(textOf(text, index))
    else {
      const delta = { type: 'input_json_delta', partial_json: JSON.stringify(block.input) }
      content.push(frame('content_block_delta', { index, delta }))
    }
    content.push(frame('content_block_stop', { index }))
  })
  return {
    head: frame('message_start', {
      message: { ...message, content: [], stop_reason: null, usage: begun },
    }),
    content,
    tail: [
      frame('message_delta', {
        delta: { stop_reason: message.stop_reason, stop_sequence: null },
        usage: { output_tokens: usage.completion_tokens },
      }),
      frame('message_stop', {}),
    ],
    chunkOf: (text) => textOf(text),
    done: '',
  }
}
