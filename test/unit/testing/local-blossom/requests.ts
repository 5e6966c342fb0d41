import { connect } from 'node:net'
import { onTestFinished } from 'vitest'
import {
  type LocalBlossom,
  type LocalBlossomOptions,
  startLocalBlossom,
} from '../../../../src/testing/local-blossom/index.js'

/** A local Blossom for the time of a test. */
export async function start(options: LocalBlossomOptions = {}): Promise<LocalBlossom> {
  const blossom = await startLocalBlossom(options)
  onTestFinished(() => blossom.close())
  return blossom
}

export const hello = {
  model: 'openai',
  messages: [{ role: 'user', content: 'Tell me about tulips' }],
}

export function post(
  blossom: LocalBlossom,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return fetch(blossom.url + path, {
    method: 'POST',
    body: text,
    headers: { 'content-type': 'application/json', ...headers },
  })
}

export const chat = (
  blossom: LocalBlossom,
  more: object = {},
  headers: Record<string, string> = {},
) => post(blossom, '/v1/chat/completions', { ...hello, ...more }, headers)

interface Chunk {
  choices: {
    delta: { role?: string; content?: string; tool_calls?: { function: { arguments: string } }[] }
    finish_reason: string | null
  }[]
  usage?: { total_tokens: number }
}

/** The fields of JSON answers that are looked into. */
interface Body {
  choices: [{ finish_reason: string; message: Message }]
  usage: { completion_tokens: number }
  data: [Item, ...Item[]]
  error: { message: string; details: { field?: string } }
  topic: string
}
interface Message {
  content: string
  reasoning_content: string
  tool_calls: [{ id: string; function: { arguments: string } }]
  audio: { data: string }
}
interface Item {
  id: string
  index: number
  embedding: number[]
  b64_json: string
  url: string
}

export const bodyOf = async (answer: Response | Promise<Response>) =>
  (await (await answer).json()) as Body

/** The data of each event, `[DONE]` included. */
export const eventsOf = (text: string) =>
  text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice(6))
export const chunksOf = (text: string) =>
  eventsOf(text)
    .filter((data) => data !== '[DONE]')
    .map((data) => JSON.parse(data) as Chunk)
export const textOf = (chunks: readonly Chunk[]) =>
  chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')

/** Sends a request line as it stands, which no URL library does, and reads the whole answer. */
export function raw(blossom: LocalBlossom, target: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(blossom.port, '127.0.0.1', () =>
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    )
    let text = ''
    socket.setEncoding('latin1').on('data', (part: string) => {
      text += part
    })
    socket.on('close', () => resolve(text)).on('error', reject)
  })
}
