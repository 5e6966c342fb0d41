import { rules } from '../../core/index.js'
import {
  bad,
  COUNT,
  type Fields,
  FLAG,
  field,
  INTEGER,
  isName,
  isObject,
  isText,
  LIST,
  NAME,
  OBJECT,
  TEXT,
  TEXTS,
} from './fields.js'
import { toneWav } from './media.js'
import { DEFAULTS } from './models.js'
import {
  countPromptTokens,
  countTokens,
  lastPrompt,
  type Message,
  pieces,
  topicOf,
  writeText,
} from './text.js'

/**
 * Value of `created` in every answer, in seconds since 1970. Fixed, so that equal questions get
 * equal answers. @internal
 */
export const CREATED = 1_764_547_200

/** What a valid chat body asks for. @internal */
export interface ChatQuestion {
  readonly model: string
  readonly messages: readonly Message[]
  readonly seed?: number | undefined
  readonly maxTokens?: number | undefined
  /** Number of answers to choose from. */
  readonly choices: number
  readonly stop: readonly string[]
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly reasons: boolean
  readonly speaks: boolean
  readonly json: boolean
  /** The schema of `response_format: {type: 'json_schema'}`. */
  readonly schema?: unknown
  /** The tool that the answer must call. */
  readonly tool?: { readonly name: string; readonly parameters: unknown } | undefined
}

/** Token counts of a chat answer. @internal */
interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
}

/** A finished answer, before it is cut into chunks or wrapped in an object. @internal */
export interface ChatAnswer {
  readonly id: string
  readonly model: string
  readonly content: string | null
  readonly reasoning?: string
  readonly toolCall?: {
    readonly id: string
    readonly type: 'function'
    readonly function: { name: string; arguments: string }
  }
  readonly audio?: {
    readonly id: string
    readonly data: string
    readonly transcript: string
    readonly expires_at: number
  }
  readonly finishReason: 'stop' | 'length' | 'tool_calls'
  readonly usage: Usage
}

const ROLE = rules.oneOf(
  ['system', 'developer', 'user', 'assistant', 'tool', 'function'],
  undefined,
)
const CHOICES = rules.integer(undefined, { min: 1, max: 128 })
const FORMAT = rules.oneOf(['text', 'json_object', 'json_schema'], undefined)

/**
 * Validates a chat body against the ranges in the Pollinations gateway documentation, 2026-11.
 *
 * @throws {Refusal} (status 400) that names the field
 * @internal
 */
export function readChat(body: Fields): ChatQuestion {
  const { messages } = body
  if (!Array.isArray(messages) || messages.length === 0)
    throw bad('messages', 'must be a list of at least one message')
  for (const message of messages as readonly unknown[]) {
    if (!isObject(message)) throw bad('messages', 'must contain only objects')
    if (field(message, 'role', ROLE) === undefined) throw bad('role', 'is missing in a message')
    const { content } = message
    if (content !== undefined && content !== null && !isText(content) && !Array.isArray(content)) {
      throw bad('content', 'must be a string or a list of parts')
    }
  }
  field(body, 'temperature', rules.number(undefined, { min: 0, max: 2 }))
  field(body, 'top_p', rules.number(undefined, { min: 0, max: 1 }))
  const stop = field(body, 'stop', rules.either(TEXT, TEXTS)) ?? []
  const format = field(body, 'response_format', OBJECT) ?? {}
  const type = field(format, 'type', FORMAT) ?? 'text'
  const streamOptions = field(body, 'stream_options', OBJECT) ?? {}
  const effort = field(body, 'reasoning_effort', TEXT)
  return {
    model: field(body, 'model', NAME) ?? DEFAULTS.text,
    messages,
    seed: field(body, 'seed', INTEGER),
    maxTokens: field(body, 'max_completion_tokens', COUNT) ?? field(body, 'max_tokens', COUNT),
    choices: field(body, 'n', CHOICES) ?? 1,
    stop: [stop].flat().filter((mark) => mark !== ''),
    stream: field(body, 'stream', FLAG) ?? false,
    includeUsage: field(streamOptions, 'include_usage', FLAG) ?? false,
    reasons: effort !== undefined && effort !== 'none',
    speaks: (field(body, 'modalities', TEXTS) ?? []).includes('audio'),
    json: type !== 'text',
    schema:
      type === 'json_schema'
        ? isObject(format.json_schema)
          ? format.json_schema.schema
          : undefined
        : undefined,
    tool: chooseTool(body, messages),
  }
}

/** Creates all answers to choose from, each with its own seed. @internal */
export function answerChat(
  question: ChatQuestion,
  ...asked: [id: string, model: string, reply: string | undefined, words: number]
): ChatAnswer[] {
  return Array.from({ length: question.choices }, (_, index) => {
    const seed = index === 0 ? question.seed : (question.seed ?? 0) + index
    return answer({ ...question, seed }, ...asked)
  })
}

/** Answers a valid question. `reply` replaces the generated text. */
function answer(
  question: ChatQuestion,
  id: string,
  model: string,
  reply: string | undefined,
  words: number,
): ChatAnswer {
  const prompt = lastPrompt(question.messages)
  const topic = topicOf(prompt)
  const promptTokens = countPromptTokens(question.messages)
  const reasoning = question.reasons
    ? `The question is “${topic}”, and a few sentences will do.`
    : undefined
  const usage = (content: string): Usage => {
    const completion = countTokens(content) + countTokens(reasoning ?? '')
    return {
      prompt_tokens: promptTokens,
      completion_tokens: completion,
      total_tokens: promptTokens + completion,
    }
  }
  const common = { id, model, ...(reasoning === undefined ? {} : { reasoning }) }

  if (question.tool !== undefined) {
    const call = {
      name: question.tool.name,
      arguments: JSON.stringify(sample(question.tool.parameters, topic)),
    }
    const toolCall = { id: `call_${id}`, type: 'function', function: call } as const
    return {
      ...common,
      content: null,
      toolCall,
      finishReason: 'tool_calls',
      usage: usage(call.arguments),
    }
  }

  const written =
    reply ??
    (question.json
      ? jsonText(question, topic)
      : writeText(model, question.messages, question.seed, words))
  const stopped = question.stop.reduce(
    (text, mark) => (text.includes(mark) ? text.slice(0, text.indexOf(mark)) : text),
    written,
  )
  const parts = pieces(stopped)
  const cut = question.maxTokens !== undefined && parts.length > question.maxTokens
  const content = cut ? parts.slice(0, question.maxTokens).join('') : stopped
  const finishReason = cut ? 'length' : 'stop'
  if (!question.speaks) return { ...common, content, finishReason, usage: usage(content) }
  const data = toneWav(content, DEFAULTS.voice, model).toString('base64')
  const audio = { id: `audio_${id}`, data, transcript: content, expires_at: CREATED + 3600 }
  return { ...common, content: null, audio, finishReason, usage: usage(content) }
}

/** Converts the answers to a `chat.completion`. @internal */
export function toCompletion(answers: readonly ChatAnswer[]): object {
  const { id, model } = answers[0] as ChatAnswer
  const choices = answers.map((answer, index) => ({
    index,
    message: messageOf(answer),
    finish_reason: answer.finishReason,
  }))
  return {
    id,
    object: 'chat.completion',
    created: CREATED,
    model,
    choices,
    usage: usageOf(answers),
  }
}

function messageOf({ content, reasoning, toolCall, audio }: ChatAnswer): object {
  return {
    role: 'assistant',
    content,
    ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
    ...(toolCall === undefined ? {} : { tool_calls: [toolCall] }),
    ...(audio === undefined ? {} : { audio }),
  }
}

/** Adds up the usage of all answers. The question counts once. @internal */
export function usageOf(answers: readonly ChatAnswer[]): Usage {
  const prompt = answers[0]?.usage.prompt_tokens ?? 0
  const completion = answers.reduce((sum, { usage }) => sum + usage.completion_tokens, 0)
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
  }
}

function chooseTool(body: Fields, messages: readonly Message[]): ChatQuestion['tool'] {
  const tools = (field(body, 'tools', LIST) ?? []).map((tool: unknown) => {
    const described = isObject(tool) && isObject(tool.function) ? tool.function : undefined
    if (!isName(described?.name)) throw bad('tools', 'must contain functions with a name')
    return { name: described.name, parameters: described.parameters }
  })
  const choice = body.tool_choice
  if (choice === 'none' || tools.length === 0) return undefined
  if (isObject(choice)) {
    const wanted = isObject(choice.function) ? choice.function.name : undefined
    const tool = tools.find(({ name }) => name === wanted)
    if (tool === undefined) throw bad('tool_choice', 'must name one of the tools')
    return tool
  }
  // After a tool's answer, reply with text. Otherwise an agent would loop forever.
  const asked =
    messages.at(-1)?.role !== 'tool' && lastPrompt(messages).toLowerCase().includes('call the tool')
  return choice === 'required' || asked ? tools[0] : undefined
}

function jsonText(question: ChatQuestion, topic: string): string {
  if (question.schema !== undefined) return JSON.stringify(sample(question.schema, topic))
  return JSON.stringify({
    topic,
    answer: writeText(question.model, question.messages, question.seed),
  })
}

/** Creates a value for a simple JSON schema. Strings contain the topic. */
function sample(schema: unknown, topic: string, depth = 0): unknown {
  if (!isObject(schema) || depth > 8) return topic
  if ('const' in schema) return schema.const
  if (Array.isArray(schema.enum)) return schema.enum[0] as unknown
  if (Array.isArray(schema.anyOf)) return sample(schema.anyOf[0], topic, depth + 1)
  const type: unknown = Array.isArray(schema.type) ? schema.type[0] : schema.type
  switch (type ?? (isObject(schema.properties) ? 'object' : 'string')) {
    case 'object': {
      const properties = isObject(schema.properties) ? schema.properties : {}
      return Object.fromEntries(
        Object.entries(properties).map(([name, inner]) => [name, sample(inner, topic, depth + 1)]),
      )
    }
    case 'array':
      return [sample(schema.items, topic, depth + 1)]
    case 'integer':
    case 'number':
      return typeof schema.minimum === 'number' ? schema.minimum : 1
    case 'boolean':
      return true
    case 'null':
      return null
    default:
      return topic
  }
}
