import { isRecord } from '../../../core/index.js'
import { assistantContentOf, contentOf, outputOf } from './content.js'
import { refusal } from './refusal.js'

type Fields = Readonly<Record<string, unknown>>

/** A chat message while it is built. */
type Message = {
  role: string
  content: unknown
  refusal?: string
  tool_calls?: Fields[]
  tool_call_id?: string
}

const REFERENCE =
  'items are not stored here, so none can be referred to. Have your client send the items themselves: set `store: false` (in the AI SDK `providerOptions: { openai: { store: false } }`).'

/** Beginning of reasoning ids, in this gateway's answers and in OpenAI's. */
const OF_REASONING = /^rs_/

/** Translates the conversation to the messages of a chat. */
export function messagesOf({ instructions, input }: Fields): readonly Fields[] {
  const conversation = new Conversation()
  if (instructions !== undefined && instructions !== null) {
    if (typeof instructions !== 'string') throw refusal('instructions', 'must be a string.')
    conversation.add({ role: 'system', content: instructions })
  }
  if (typeof input === 'string') conversation.add({ role: 'user', content: input })
  else
    (input as readonly unknown[]).forEach((item, index) => {
      const at = `input[${index}]`
      if (!isRecord(item)) throw refusal(at, 'must be an object.')
      conversation.addItem(item, at)
    })
  if (conversation.messages.length === 0) throw refusal('input', 'is empty.')
  return conversation.messages
}

class Conversation {
  readonly messages: Message[] = []
  /** The assistant's current message, to which its tool calls are added. */
  #turn: Message | undefined

  add(message: Message): void {
    this.#turn = undefined
    this.messages.push(message)
  }

  addItem(item: Fields, at: string): void {
    const { type = 'message' } = item
    switch (type) {
      case 'message':
        return this.#addMessage(item, at)
      case 'function_call':
        return this.#addCall(item, at)
      case 'function_call_output':
        return this.add({
          role: 'tool',
          tool_call_id: textIn(item, 'call_id', at),
          content: outputOf(item.output, `${at}.output`),
        })
      case 'reasoning':
        return
      case 'item_reference':
        if (typeof item.id === 'string' && OF_REASONING.test(item.id)) return
        throw refusal(at, REFERENCE)
      default:
        throw refusal(`${at}.type`, 'items of this type are not supported.')
    }
  }

  #addMessage({ role, content }: Fields, at: string): void {
    switch (role) {
      case 'user':
        return this.add({ role, content: contentOf(content, `${at}.content`) })
      case 'system':
      case 'developer':
        // Few servers other than OpenAI's know the role `developer`, which means `system`.
        return this.add({ role: 'system', content: contentOf(content, `${at}.content`) })
      case 'assistant':
        return this.#addAssistantContent(content, `${at}.content`)
      default:
        throw refusal(`${at}.role`, 'must be user, assistant, system or developer.')
    }
  }

  #addAssistantContent(content: unknown, at: string): void {
    const { text, refused } = assistantContentOf(content, at)
    // No message may come between a tool call and its output.
    const turn = this.#turn?.tool_calls === undefined ? this.#begin() : this.#turn
    if (text !== '' || refused === '') turn.content = `${turn.content ?? ''}${text}`
    if (refused !== '') turn.refusal = `${turn.refusal ?? ''}${refused}`
  }

  #addCall(item: Fields, at: string): void {
    const turn = this.#turn ?? this.#begin()
    turn.tool_calls ??= []
    turn.tool_calls.push({
      id: textIn(item, 'call_id', at),
      type: 'function',
      function: { name: textIn(item, 'name', at), arguments: textIn(item, 'arguments', at) },
    })
  }

  #begin(): Message {
    const turn: Message = { role: 'assistant', content: null }
    this.messages.push(turn)
    this.#turn = turn
    return turn
  }
}

function textIn(item: Fields, field: string, at: string): string {
  const value = item[field]
  if (typeof value !== 'string') throw refusal(`${at}.${field}`, 'must be a string.')
  return value
}
