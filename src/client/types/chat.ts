// OpenAI's shapes for chat.

/** A part of a message's content, such as a text or an image. */
export interface ContentPart {
  type: string
  [field: string]: unknown
}

/** A tool call requested by the model. In a stream, `index` says which call a piece belongs to. */
export interface ToolCall {
  id?: string | undefined
  index?: number | undefined
  type?: string | undefined
  function?: { name?: string | undefined; arguments?: string | undefined } | undefined
}

/** A message of a conversation. */
export interface ChatMessage {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | (string & {})
  content?: string | readonly ContentPart[] | null | undefined
  name?: string | undefined
  tool_calls?: readonly ToolCall[] | undefined
  tool_call_id?: string | undefined
  [field: string]: unknown
}

/** Body of `POST /v1/chat/completions`. Unknown fields are sent unchanged. */
export interface ChatBody {
  messages: readonly ChatMessage[]
  /** A model's id, from `models.list()`. @default upstream's, which is `openai` */
  model?: string | undefined
  temperature?: number | undefined
  top_p?: number | undefined
  max_tokens?: number | undefined
  seed?: number | undefined
  stop?: string | readonly string[] | undefined
  tools?: readonly unknown[] | undefined
  tool_choice?: unknown
  response_format?: unknown
  reasoning_effort?: string | undefined
  modalities?: readonly string[] | undefined
  stream_options?: { include_usage?: boolean | undefined } | undefined
  [field: string]: unknown
}

/** Token counts, with OpenAI's field names. */
export interface WireUsage {
  prompt_tokens: number
  completion_tokens?: number
  total_tokens: number
  [field: string]: unknown
}

/** The model's message. `content` may be null if there are tool calls. */
export interface ChatAnswerMessage {
  role: string
  content: string | null
  tool_calls?: ToolCall[]
  reasoning_content?: string
  refusal?: string | null
  audio?: unknown
  [field: string]: unknown
}

/** OpenAI's chat completion, unchanged. */
export interface ChatCompletion {
  id: string
  object: string
  created: number
  model: string
  choices: {
    index: number
    message: ChatAnswerMessage
    finish_reason: string | null
    [field: string]: unknown
  }[]
  usage?: WireUsage
  [field: string]: unknown
}

/** The part of a message that one chunk adds. */
export interface ChatDelta {
  role?: string
  content?: string | null
  reasoning_content?: string | null
  refusal?: string | null
  tool_calls?: ToolCall[]
  audio?: unknown
  [field: string]: unknown
}

/**
 * A chunk of OpenAI's streamed chat completion, unchanged. The last chunk may have `usage` and no
 * choices.
 */
export interface ChatChunk {
  id: string
  object: string
  created: number
  model: string
  choices: {
    index: number
    delta: ChatDelta
    finish_reason: string | null
    [field: string]: unknown
  }[]
  usage?: WireUsage | null
  [field: string]: unknown
}
