import { isJson, isRecord } from '../../core/index.js'

/** A message in the format of the conventions. */
interface Message {
  readonly role: string
  readonly parts: readonly { readonly type: string; readonly content?: string }[]
  readonly finish_reason?: string
}

/** The request, as the value of the attribute `gen_ai.input.messages`. */
export function inputOf(request: unknown): string {
  const body = isRecord(request) && 'path' in request ? request.body : undefined
  return JSON.stringify(isRecord(body) ? messagesIn(body) : [userMessage(plainInput(request))])
}

function messagesIn(body: Readonly<Record<string, unknown>>): Message[] {
  const { messages, prompt, input } = body
  if (Array.isArray(messages))
    return messages.filter(isRecord).map(({ role, content }) => ({
      role: String(role),
      parts: partsOf(content),
    }))
  return [prompt, input]
    .flat()
    .filter((text) => typeof text === 'string')
    .map(userMessage)
}

/**
 * The input of a request without messages. For an image requested by URL, the prompt in its path.
 */
function plainInput(request: unknown): string {
  if (typeof request === 'string') return request
  if (isRecord(request) && typeof request.path === 'string') return request.path
  return JSON.stringify(request) ?? ''
}

const userMessage = (content: string): Message => ({
  role: 'user',
  parts: [{ type: 'text', content }],
})

/** The parts of a message. For parts other than text only the type, because images are large. */
function partsOf(content: unknown): Message['parts'] {
  if (typeof content === 'string') return [{ type: 'text', content }]
  if (!Array.isArray(content)) return []
  return content
    .filter(isRecord)
    .map(({ type, text }) =>
      typeof text === 'string' ? { type: 'text', content: text } : { type: String(type) },
    )
}

/** The text that an answer or a chunk adds to the first choice. */
export function textAdded(part: unknown): string {
  const value = isRecord(part) && isJson(part.data) ? part.data.value : part
  if (typeof value === 'string') return value
  if (!isRecord(value) || !Array.isArray(value.choices)) return ''
  const [choice] = value.choices as unknown[]
  if (!isRecord(choice)) return ''
  const message = isRecord(choice.delta) ? choice.delta : choice.message
  return isRecord(message) && typeof message.content === 'string' ? message.content : ''
}

/** The answer, as the value of the attribute `gen_ai.output.messages`. */
export function outputOf(text: string, finishReason: string | undefined): string {
  const message: Message = {
    role: 'assistant',
    parts: [{ type: 'text', content: text }],
    ...(finishReason !== undefined && { finish_reason: finishReason }),
  }
  return JSON.stringify([message])
}
