/** One server-sent event. */
export const event = (data: unknown): string =>
  `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`

export const DONE = event('[DONE]')

/** One chunk of a chat stream. */
export const chunk = (delta: object, finish: string | null = null, more: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'openai',
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...more,
})

/** Events of a stream with these pieces of text, whole with its finish reason and `[DONE]`. */
export const chatEvents = (...texts: readonly string[]): string =>
  [chunk({ role: 'assistant' }), ...texts.map((content) => chunk({ content })), chunk({}, 'stop')]
    .map(event)
    .join('') + DONE

/** A chat completion with this text. */
export const completion = (
  content: string | null = 'Hello.',
  message: object = {},
  more: object = {},
) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'openai',
  choices: [
    { index: 0, message: { role: 'assistant', content, ...message }, finish_reason: 'stop' },
  ],
  usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
  ...more,
})

/** An HTTP answer as bytes on the wire, its length told. */
export const answer = (status: string, body: string, ...headers: readonly string[]): string =>
  [`HTTP/1.1 ${status}`, `content-length: ${Buffer.byteLength(body)}`, ...headers, '', body].join(
    '\r\n',
  )

/** The head of an event stream whose end is the connection's. */
export const STREAM_HEAD =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n'
