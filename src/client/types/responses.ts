// OpenAI's shapes for Responses.

/** An item of a Responses request or answer, such as a message, a function call or its output. */
export interface ResponsesItem {
  /** Kind of item, such as `message`, `function_call`, `function_call_output` or `reasoning`. */
  type?: string | undefined
  id?: string | undefined
  [field: string]: unknown
}

/** Body of `POST /v1/responses`. Unknown fields are sent unchanged. */
export interface ResponsesBody {
  /** The user's text, or the conversation so far. */
  input: string | readonly ResponsesItem[]
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Instructions placed before the conversation, like a system message. */
  instructions?: string | null | undefined
  max_output_tokens?: number | null | undefined
  temperature?: number | null | undefined
  top_p?: number | null | undefined
  tools?: readonly unknown[] | undefined
  tool_choice?: unknown
  /** `{ format }`: the format of the text, such as a JSON schema. */
  text?: unknown
  reasoning?: unknown
  /** Whether upstream stores the response. Stored responses are never cached by this library. */
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

/** OpenAI's response, unchanged. */
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

/** An event of a streamed response, unchanged. */
export interface ResponsesEvent {
  /** Name of the event; the last one is `response.completed` or `response.incomplete`. */
  type: string
  [field: string]: unknown
}
