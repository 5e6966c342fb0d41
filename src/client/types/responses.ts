// OpenAI's shapes for Responses.

/** One item of a Responses request or answer: a message, a call of a function, what it gave. */
export interface ResponsesItem {
  /** Such as `message`, `function_call`, `function_call_output` or `reasoning`. */
  type?: string | undefined
  id?: string | undefined
  [field: string]: unknown
}

/** Body of `POST /v1/responses`; unknown fields are sent as they are. */
export interface ResponsesBody {
  /** A text, or the conversation so far. */
  input: string | readonly ResponsesItem[]
  /** @default upstream's */
  model?: string | undefined
  /** Comes before the conversation, as a system message does. */
  instructions?: string | null | undefined
  max_output_tokens?: number | null | undefined
  temperature?: number | null | undefined
  top_p?: number | null | undefined
  tools?: readonly unknown[] | undefined
  tool_choice?: unknown
  /** `{ format }`: what the text looks like. */
  text?: unknown
  reasoning?: unknown
  /** Whether upstream keeps the response. Those that it keeps are not cached here. */
  store?: boolean | null | undefined
  [field: string]: unknown
}

/** Token counts of a response. */
export interface ResponsesUsage {
  input_tokens: number
  output_tokens: number
  total_tokens: number
  [field: string]: unknown
}

/** OpenAI's response, as it is on the wire. */
export interface ResponsesAnswer {
  id: string
  object: string
  /** `completed`, or `incomplete` with the reason in `incomplete_details`. */
  status?: string | undefined
  model: string
  output: ResponsesItem[]
  usage?: ResponsesUsage | null | undefined
  [field: string]: unknown
}

/** One event of a streamed response, as it is on the wire. */
export interface ResponsesEvent {
  /** Such as `response.output_text.delta`; the last one is `response.completed` or `.incomplete`. */
  type: string
  [field: string]: unknown
}
