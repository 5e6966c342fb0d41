import { isRecord } from '../../core/index.js'
import type { ChatChunk, ChatCompletion, ChatDelta, ToolCall, Usage, WireUsage } from '../types.js'

/**
 * Whether a chunk commits a stream: content, reasoning, a tool call, audio, a refusal or a finish
 * reason. A role alone does not.
 */
export function commits(chunk: unknown): boolean {
  if (!isRecord(chunk) || !Array.isArray(chunk.choices)) return true
  return chunk.choices.some((choice: { delta?: ChatDelta; finish_reason?: unknown }) => {
    if (choice?.finish_reason) return true
    const delta = choice?.delta
    if (!isRecord(delta)) return false
    return Boolean(
      delta.content ||
        delta.reasoning_content ||
        delta.refusal ||
        delta.audio ||
        (Array.isArray(delta.tool_calls) && delta.tool_calls.length),
    )
  })
}

/** The finish reason a chunk holds, if any. */
export function finishReasonOf(chunk: unknown): string | undefined {
  if (!isRecord(chunk) || !Array.isArray(chunk.choices)) return undefined
  // By index, as in all that looks at every chunk: an iterator costs more than what it is for.
  for (let i = 0; i < chunk.choices.length; i++) {
    const choice: unknown = chunk.choices[i]
    if (isRecord(choice) && typeof choice.finish_reason === 'string') return choice.finish_reason
  }
  return undefined
}

/** The text that a chunk holds of the first choice; empty when it has none. */
export function textOf(chunk: unknown): string {
  if (!isRecord(chunk) || !Array.isArray(chunk.choices)) return ''
  const first: unknown = chunk.choices[0]
  const delta: unknown = isRecord(first) && !first.index ? first.delta : undefined
  return isRecord(delta) && typeof delta.content === 'string' ? delta.content : ''
}

/** Token counts in this library's words. */
export function usageOf(answer: unknown): Usage | undefined {
  const usage = isRecord(answer) ? answer.usage : undefined
  if (!isRecord(usage)) return undefined
  const { prompt_tokens, completion_tokens, total_tokens } = usage
  const count = (value: unknown): number =>
    typeof value === 'number' && Number.isFinite(value) ? value : 0
  const promptTokens = count(prompt_tokens)
  const completionTokens = count(completion_tokens)
  return {
    promptTokens,
    completionTokens,
    totalTokens: typeof total_tokens === 'number' ? total_tokens : promptTokens + completionTokens,
  }
}

/** Whether this is a chat completion that can be read without surprises. */
export function isCompletion(data: unknown): data is ChatCompletion {
  return (
    isRecord(data) &&
    Array.isArray(data.choices) &&
    data.choices.length > 0 &&
    data.choices.every((choice) => isRecord(choice) && isRecord(choice.message))
  )
}

/** Whether an event of a chat stream can be one of its chunks; some hold no choices at all. */
export function isChunk(data: unknown): boolean {
  return (
    isRecord(data) &&
    (data.choices === undefined || (Array.isArray(data.choices) && data.choices.every(isRecord)))
  )
}

/** A completion as the chunks a stream of it would have had. */
export function toChunks(completion: ChatCompletion): ChatChunk[] {
  const head = {
    id: completion.id,
    object: 'chat.completion.chunk',
    created: completion.created,
    model: completion.model,
  }
  const chunks: ChatChunk[] = completion.choices.map(({ index, message }) => {
    const { tool_calls, ...rest } = message
    // Some providers say `tool_calls: null`.
    const delta: ChatDelta = Array.isArray(tool_calls)
      ? { ...rest, tool_calls: tool_calls.map((call, i) => ({ index: i, ...call })) }
      : rest
    return { ...head, choices: [{ index, delta, finish_reason: null }] }
  })
  chunks.push({
    ...head,
    choices: completion.choices.map(({ index, finish_reason }) => ({
      index,
      delta: {},
      finish_reason: finish_reason ?? 'stop',
    })),
  })
  if (completion.usage) chunks.push({ ...head, choices: [], usage: completion.usage })
  return chunks
}

/** The completion that a complete stream amounts to; undefined when the chunks are no chat. */
export function fromChunks(chunks: readonly unknown[]): ChatCompletion | undefined {
  const first = chunks.find(isRecord) as ChatChunk | undefined
  if (first === undefined || !Array.isArray(first.choices)) return undefined
  const choices = new Map<number, ChatCompletion['choices'][number]>()
  let usage: WireUsage | undefined
  for (const chunk of chunks as ChatChunk[]) {
    if (isRecord(chunk?.usage)) usage = chunk.usage as WireUsage
    if (!Array.isArray(chunk?.choices)) continue
    for (let i = 0; i < chunk.choices.length; i++) {
      const part = chunk.choices[i]
      if (!isRecord(part)) continue
      const { index = 0, delta, finish_reason } = part as ChatChunk['choices'][number]
      const choice = choices.get(index) ?? {
        index,
        message: { role: 'assistant', content: null },
        finish_reason: null,
      }
      choices.set(index, choice)
      if (finish_reason) choice.finish_reason = finish_reason
      if (isRecord(delta)) addDelta(choice.message, delta)
    }
  }
  if (choices.size === 0) return undefined
  const { id, created, model } = first
  const sorted = [...choices.values()].sort((a, b) => a.index - b.index)
  // Some providers count tool calls from 1: no holes are handed on.
  for (const { message } of sorted)
    if (message.tool_calls) message.tool_calls = message.tool_calls.filter(() => true)
  return { id, object: 'chat.completion', created, model, choices: sorted, ...(usage && { usage }) }
}

function addDelta(message: ChatCompletion['choices'][number]['message'], delta: ChatDelta): void {
  if (delta.role) message.role = delta.role
  if (typeof delta.content === 'string') message.content = (message.content ?? '') + delta.content
  if (typeof delta.reasoning_content === 'string')
    message.reasoning_content = (message.reasoning_content ?? '') + delta.reasoning_content
  if (typeof delta.refusal === 'string') message.refusal = (message.refusal ?? '') + delta.refusal
  if (delta.audio !== undefined)
    message.audio =
      isRecord(delta.audio) && isRecord(message.audio)
        ? joinAudio(message.audio, delta.audio)
        : delta.audio
  if (!Array.isArray(delta.tool_calls)) return
  message.tool_calls ??= []
  for (const part of delta.tool_calls) if (isRecord(part)) addToolCall(message.tool_calls, part)
}

/** Pieces of one tool call share an `index`; its arguments arrive as pieces of a string. */
function addToolCall(calls: ToolCall[], { index, ...part }: ToolCall): void {
  const at = typeof index === 'number' && index >= 0 && index < 1_000 ? index : calls.length
  const call = calls[at]
  if (call === undefined) {
    calls[at] = { ...part, ...(part.function && { function: { ...part.function } }) }
    return
  }
  if (part.id) call.id = part.id
  if (part.type) call.type = part.type
  if (!part.function) return
  const { name, arguments: more } = part.function
  call.function ??= {}
  if (name) call.function.name = name
  if (more) call.function.arguments = (call.function.arguments ?? '') + more
}

/** Audio comes as base64 in pieces and a transcript in pieces. */
function joinAudio(
  before: Record<string, unknown>,
  after: Record<string, unknown>,
): Record<string, unknown> {
  const joined = { ...before, ...after }
  for (const field of ['data', 'transcript']) {
    const [a, b] = [before[field], after[field]]
    if (typeof a === 'string' && typeof b === 'string') joined[field] = a + b
  }
  return joined
}
