/**
 * A chat for the AI SDK. After a lost connection or a reload, `useChat({ id, resume: true })` shows
 * the interrupted answer and continues it.
 */
import type { Transformer, TransformStreamDefaultController } from 'node:stream/web'
import { createUIMessageStreamResponse, type UIMessage, type UIMessageChunk } from 'ai'
import type { Gateway } from 'blossom-stack/http'
import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream'

/** Stores the id of the stream with the latest answer of each chat. */
export interface Chats {
  get(chat: string): string | undefined | Promise<string | undefined>
  set(chat: string, stream: string): unknown
}

const nothing = () => new Response(null, { status: 204 })

/** `POST /api/chat` and `GET /api/chat/{id}/stream`, the routes that `useChat` calls. */
export function chatRoutes(gateway: Gateway, chats: Chats) {
  return async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url)
    const [, chat] = /^\/api\/chat\/([\w-]+)\/stream$/.exec(pathname) ?? []
    if (chat !== undefined && request.method === 'GET') return resume(chat, request)
    if (pathname === '/api/chat' && request.method === 'POST') return ask(request)
    return new Response('There is nothing here.', { status: 404 })
  }

  async function ask(request: Request): Promise<Response> {
    const { id, messages } = (await request.json()) as { id: string; messages: UIMessage[] }
    const answer = await gateway(
      new Request(new URL('/ai/v1/chat/completions', request.url), {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-stream-resumable': 'true' },
        body: JSON.stringify({ model: 'openai', stream: true, messages: messages.map(plain) }),
        signal: request.signal,
      }),
    )
    const stream = answer.headers.get('x-stream-id')
    if (!answer.ok || stream === null) return answer
    await chats.set(id, stream)
    return uiMessages(answer, stream)
  }

  /** Sends the stream from its beginning, because `useChat` rebuilds the whole message. */
  async function resume(chat: string, { url, signal }: Request): Promise<Response> {
    const stream = await chats.get(chat)
    if (stream === undefined) return nothing()
    const rest = await gateway(new Request(new URL(`/ai/v1/streams/${stream}`, url), { signal }))
    // The stream is over, was stopped, or is no longer stored: there is nothing to resume.
    if ([204, 404, 410].includes(rest.status)) return nothing()
    return rest.ok ? uiMessages(rest, stream) : rest
  }
}

/** Converts a chat message to OpenAI's format. */
function plain({ role, parts }: UIMessage) {
  return { role, content: parts.map((part) => (part.type === 'text' ? part.text : '')).join('') }
}

/**
 * Converts a stream of the gateway to that of the AI SDK. Cancelling it leaves the gateway's
 * stream.
 */
function uiMessages({ body }: Response, id: string): Response {
  const chunks = (body as ReadableStream<Uint8Array>)
    .pipeThrough(new TextDecoderStream() as never)
    .pipeThrough(new EventSourceParserStream())
    .pipeThrough(new TransformStream(new ToUIMessages(id)))
  return createUIMessageStreamResponse({ stream: chunks })
}

type Out = TransformStreamDefaultController<UIMessageChunk>

class ToUIMessages implements Transformer<EventSourceMessage, UIMessageChunk> {
  readonly #id: string

  /**
   * @param id the same for each client that reads the stream, so that the message is not duplicated
   */
  constructor(id: string) {
    this.#id = id
  }

  start(out: Out): void {
    out.enqueue({ type: 'start', messageId: this.#id })
    out.enqueue({ type: 'text-start', id: this.#id })
  }

  transform({ data }: EventSourceMessage, out: Out): void {
    if (data === '[DONE]') {
      out.enqueue({ type: 'text-end', id: this.#id })
      out.enqueue({ type: 'finish' })
      return
    }
    const { choices, error } = JSON.parse(data)
    if (error) out.enqueue({ type: 'error', errorText: error.message })
    const delta = choices?.[0]?.delta?.content
    if (delta) out.enqueue({ type: 'text-delta', id: this.#id, delta })
  }
}
