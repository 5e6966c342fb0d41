// OpenAI's shapes for chat.

/** Part of a message that is not plain text. */
export interface ContentPart {
  type: string
  [field: string]: unknown
}

/** A tool that the model wants called; in a stream its parts arrive by `index`. */
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

/** Body of `POST /v1/chat/completions`; unknown fields are sent as they are. */
export interface ChatBody {
  messages: readonly ChatMessage[]
  /** @default upstream's, which is `openai` */
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

/** Token counts as they are on the wire. */
export interface WireUsage {
  prompt_tokens: number
  completion_tokens?: number
  total_tokens: number
  [field: string]: unknown
}

/** The model's message. `content` may be null beside tool calls. */
export interface ChatAnswerMessage {
  role: string
  content: string | null
  tool_calls?: ToolCall[]
  reasoning_content?: string
  refusal?: string | null
  audio?: unknown
  [field: string]: unknown
}

/** OpenAI's chat completion, as it is on the wire. */
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

/** What one chunk adds to the message. */
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
 * OpenAI's chunk of a streamed chat completion, as it is on the wire. The last one may have no
 * choices and carry `usage`.
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
