import { isJson, isRecord, type TokenUsage, tokensOf } from '../../core/index.js'
import type { BlossomRequest } from '../types.js'
import { textIn } from './completion.js'
import { COMPLETIONS, isChat, isMessages, isResponses, RESPONSES } from './shapes.js'

/** What a picture or a sound counts for, whose tokens nobody can tell beforehand. */
const MEDIA_TOKENS = 300

/** The tokens that a request holds, by its characters, and those that it allows for its answer. */
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
  const said = [messages, asked.filter(isRecord)].flat().reduce(addMessage, 0)
  const writes = Array.isArray(messages) || path === RESPONSES || path === COMPLETIONS
  return { input: tokensOf(characters) + said, output: writes ? allowedOutput(body) : 0 }
}

/** A message of a chat, an item of a Responses request, or a part of a system prompt. */
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

/** The tokens that an answer, or a chunk of a stream, says it has cost. */
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

/** What Anthropic counts apart from the other input: written to a cache, or read from one. */
function besideInput(usage: Readonly<Record<string, unknown>>): number {
  const { cache_creation_input_tokens, cache_read_input_tokens } = usage
  return [cache_creation_input_tokens, cache_read_input_tokens]
    .filter(isCount)
    .reduce((sum, count) => sum + count, 0)
}

/** What is no usage is not parsed for it. */
function usageOfJson(data: { readonly text: string; readonly value: unknown }): unknown {
  return data.text.includes('"usage"') ? data.value : undefined
}

/** What the requests of one conversation have in common: how it began, with whom, by what tools. */
export function conversation(request: BlossomRequest): string | undefined {
  const { body } = request
  if (body === undefined || !(isChat(request) || isResponses(request) || isMessages(request)))
    return undefined
  const { model, messages, input, instructions, tools } = body
  const items = typeof input === 'string' ? [{ role: 'user', content: input }] : input
  const said = isResponses(request) ? items : messages
  if (!Array.isArray(said)) return undefined
  const isOf = (role: string) => (message: unknown) => isRecord(message) && message.role === role
  const system = said.filter((message) => isOf('system')(message) || isOf('developer')(message))
  const told = instructions ?? body.system
  if (told !== undefined && told !== null) system.unshift(told)
  return JSON.stringify([model ?? null, system, tools ?? null, said.find(isOf('user')) ?? null])
}
