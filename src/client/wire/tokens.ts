import { isJson, isRecord, type TokenUsage, tokensOf } from '../../core/index.js'
import type { BlossomRequest } from '../types.js'
import { textIn } from './completion.js'
import { COMPLETIONS, isChat, isMessages, isResponses, RESPONSES } from './shapes.js'

/** Estimate for an image or audio part, whose tokens are not known in advance. */
const MEDIA_TOKENS = 300

/** Estimates a request's input tokens from its characters, and reads its limit for the output. */
export function weigh({ path, body }: BlossomRequest): {
  input: number
  output?: number | undefined
} {
  if (body === undefined) return { input: tokensOf(path.length), output: 0 }
  const { messages, prompt, input, instructions, system, tools } = body
  const asked = [prompt, input, instructions, system].flat()
  const texts = asked.filter((item) => typeof item === 'string')
  const characters =
    texts.join('').length + (tools === undefined ? 0 : JSON.stringify(tools).length)
  const conversation = [messages, asked.filter(isRecord)].flat().reduce(addMessage, 0)
  const writes = Array.isArray(messages) || path === RESPONSES || path === COMPLETIONS
  return { input: tokensOf(characters) + conversation, output: writes ? allowedOutput(body) : 0 }
}

/** Adds the tokens of a chat message, a Responses item, or a part of a system prompt. */
function addMessage(sum: number, message: unknown): number {
  if (!isRecord(message)) return sum
  const { content, tool_calls, arguments: called, output, text } = message
  const parts = [content, output].flat().filter(isRecord)
  const media = parts.filter(
    (part) => typeof part.text !== 'string' && typeof part.refusal !== 'string',
  ).length
  const calls = tool_calls === undefined ? '' : JSON.stringify(tool_calls)
  const own = [called, text].filter((item) => typeof item === 'string').join('')
  const characters = textIn(content).length + textIn(output).length + calls.length + own.length
  return sum + tokensOf(characters) + media * MEDIA_TOKENS
}

function allowedOutput(body: Readonly<Record<string, unknown>>): number | undefined {
  const { max_tokens, max_completion_tokens, max_output_tokens } = body
  const limits = [max_tokens, max_completion_tokens, max_output_tokens].filter(isCount)
  const choices = isCount(body.n) ? Math.max(1, body.n) : 1
  return limits.length === 0 ? undefined : Math.max(...limits) * choices
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0

/** The token usage that an answer or a chunk of a stream reports. */
export function tokenUsage(answer: unknown): TokenUsage | undefined {
  const value = isRecord(answer) && isJson(answer.data) ? usageOfJson(answer.data) : answer
  const usage = usageIn(value)
  if (usage === undefined) return undefined
  const { prompt_tokens, completion_tokens, input_tokens, output_tokens } = usage
  const input = prompt_tokens ?? input_tokens
  if (!isCount(input)) return undefined
  const output = completion_tokens ?? output_tokens
  const cached =
    detailOf(usage.prompt_tokens_details ?? usage.input_tokens_details, 'cached_tokens') ??
    detailOf(usage, 'cache_read_input_tokens')
  const reasoning = detailOf(
    usage.completion_tokens_details ?? usage.output_tokens_details,
    'reasoning_tokens',
  )
  return {
    input: input + besideInput(usage),
    output: isCount(output) ? output : 0,
    ...(cached !== undefined && { cachedInput: cached }),
    ...(reasoning !== undefined && { reasoning }),
  }
}

function detailOf(details: unknown, name: string): number | undefined {
  const count = isRecord(details) ? details[name] : undefined
  return isCount(count) ? count : undefined
}

/** The usage of an answer, a chunk, or the response in the last event of a Responses stream. */
function usageIn(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!isRecord(value)) return undefined
  if (isRecord(value.usage)) return value.usage
  return isRecord(value.response) && isRecord(value.response.usage)
    ? value.response.usage
    : undefined
}

/** Input tokens that Anthropic counts separately: written to its cache or read from it. */
function besideInput(usage: Readonly<Record<string, unknown>>): number {
  const { cache_creation_input_tokens, cache_read_input_tokens } = usage
  return [cache_creation_input_tokens, cache_read_input_tokens]
    .filter(isCount)
    .reduce((sum, count) => sum + count, 0)
}

/** Parses the JSON only if its text mentions usage. */
function usageOfJson(data: { readonly text: string; readonly value: unknown }): unknown {
  return data.text.includes('"usage"') ? data.value : undefined
}

/**
 * A key shared by the requests of one conversation: its model, system prompt, tools and first user
 * message.
 */
export function conversation(request: BlossomRequest): string | undefined {
  const { body } = request
  if (body === undefined || !(isChat(request) || isResponses(request) || isMessages(request)))
    return undefined
  const { model, messages, input, instructions, tools } = body
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : input
  const turns = isResponses(request) ? items : messages
  if (!Array.isArray(turns)) return undefined
  const isOf = (role: string) => (message: unknown) => isRecord(message) && message.role === role
  const system = turns.filter((message) => isOf('system')(message) || isOf('developer')(message))
  const topLevel = instructions ?? body.system
  if (topLevel !== undefined && topLevel !== null) system.unshift(topLevel)
  return JSON.stringify([model ?? null, system, tools ?? null, turns.find(isOf('user')) ?? null])
}
