import { isJson, isRecord, type TokenUsage, tokensOf } from '../../core/index.js'
import type { BlossomRequest } from '../types.js'
import { textIn } from './completion.js'
import { isChat } from './shapes.js'

/** What a picture or a sound counts for, whose tokens nobody can tell beforehand. */
const MEDIA_TOKENS = 300

/** The tokens that a request holds, by its characters, and those that it allows for its answer. */
export function weigh({ path, body }: BlossomRequest): {
  input: number
  output?: number | undefined
} {
  if (body === undefined) return { input: tokensOf(path.length), output: 0 }
  const { messages, prompt, input, tools } = body
  const asked = [prompt, input].flat().filter((item) => typeof item === 'string')
  const characters =
    asked.join('').length + (tools === undefined ? 0 : JSON.stringify(tools).length)
  const said = Array.isArray(messages) ? messages.reduce(addMessage, 0) : 0
  return {
    input: tokensOf(characters) + said,
    output: Array.isArray(messages) ? allowedOutput(body) : 0,
  }
}

function addMessage(sum: number, message: unknown): number {
  if (!isRecord(message)) return sum
  const { content, tool_calls } = message
  const media = Array.isArray(content)
    ? content.filter((part) => isRecord(part) && typeof part.text !== 'string').length
    : 0
  const calls = tool_calls === undefined ? '' : JSON.stringify(tool_calls)
  return sum + tokensOf(textIn(content).length + calls.length) + media * MEDIA_TOKENS
}

function allowedOutput(body: Readonly<Record<string, unknown>>): number | undefined {
  const limits = [body.max_tokens, body.max_completion_tokens].filter(isCount)
  const choices = isCount(body.n) ? Math.max(1, body.n) : 1
  return limits.length === 0 ? undefined : Math.max(...limits) * choices
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0

/** The tokens that an answer, or a chunk of a stream, says it has cost. */
export function tokenUsage(answer: unknown): TokenUsage | undefined {
  const value = isRecord(answer) && isJson(answer.data) ? usageOfJson(answer.data) : answer
  const usage = isRecord(value) ? value.usage : undefined
  if (!isRecord(usage)) return undefined
  const { prompt_tokens, completion_tokens } = usage
  if (!isCount(prompt_tokens)) return undefined
  const cached = detailOf(usage.prompt_tokens_details, 'cached_tokens')
  const reasoning = detailOf(usage.completion_tokens_details, 'reasoning_tokens')
  return {
    input: prompt_tokens,
    output: isCount(completion_tokens) ? completion_tokens : 0,
    ...(cached !== undefined && { cachedInput: cached }),
    ...(reasoning !== undefined && { reasoning }),
  }
}

function detailOf(details: unknown, name: string): number | undefined {
  const count = isRecord(details) ? details[name] : undefined
  return isCount(count) ? count : undefined
}

/** What is no usage is not parsed for it. */
function usageOfJson(data: { readonly text: string; readonly value: unknown }): unknown {
  return data.text.includes('"usage"') ? data.value : undefined
}

/** What the requests of one conversation have in common: how it began, with whom, by what tools. */
export function conversation(request: BlossomRequest): string | undefined {
  const { body } = request
  if (!isChat(request) || !Array.isArray(body?.messages)) return undefined
  const { model, messages, tools } = body
  const isOf = (role: string) => (message: unknown) => isRecord(message) && message.role === role
  const system = messages.filter((message) => isOf('system')(message) || isOf('developer')(message))
  return JSON.stringify([model ?? null, system, tools ?? null, messages.find(isOf('user')) ?? null])
}
