import {
  AbstractChat,
  type ChatState,
  type ChatStatus,
  DefaultChatTransport,
  type UIMessage,
} from 'ai'
import { createBlossom, standard } from 'blossom-stack'
import { type LocalBlossom, startLocalBlossom } from 'blossom-stack/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Site, start } from '../../examples/resume/server.js'
import { SharedMemory } from '../support/resuming.js'

const TEXT =
  'Flowers bloom to be seen by those who carry their pollen from one to the next. '.repeat(4)

let upstream: LocalBlossom
let memory: SharedMemory
let chats: Map<string, string>
const sites: Site[] = []
beforeEach(async () => {
  upstream = await startLocalBlossom({ reply: () => TEXT, chunkDelayMs: 10 })
  memory = new SharedMemory()
  chats = new Map()
})
afterEach(async () => {
  for (const site of sites.splice(0)) await site.handOver(0)
  memory.close()
  await upstream.close()
})

async function open(): Promise<Site> {
  const blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(...standard())
  const { shared } = memory.forServer()
  const site = await start({ blossom, shared, chats, port: 0, host: '127.0.0.1' })
  sites.push(site)
  return site
}

/** What `useChat` is around: React's part is only that its state is shown. */
class Chat extends AbstractChat<UIMessage> {
  constructor(id: string, { url }: Site, messages: UIMessage[] = []) {
    const state: ChatState<UIMessage> = {
      status: 'ready' as ChatStatus,
      error: undefined,
      messages,
      pushMessage: (message) => {
        state.messages = [...state.messages, message]
      },
      popMessage: () => {
        state.messages = state.messages.slice(0, -1)
      },
      replaceMessage: (index, message) => {
        state.messages = state.messages.with(index, message)
      },
      snapshot: (thing) => structuredClone(thing),
    }
    super({ id, state, transport: new DefaultChatTransport({ api: `${url}/api/chat` }) })
  }

  get texts(): string[] {
    return this.messages.map(({ parts }) =>
      parts.map((part) => (part.type === 'text' ? part.text : '')).join(''),
    )
  }
}

/** A chat that has asked, and the server's end when the page has a part of the answer. */
async function halfRead(site: Site) {
  const chat = new Chat('c1', site)
  const sent = chat.sendMessage({ text: 'Why?' })
  await expect.poll(() => chat.texts[1]?.length, { timeout: 10_000 }).toBeGreaterThan(20)
  const handedOver = site.handOver()
  await sent
  return { chat, handedOver }
}

describe('examples/resume', () => {
  it('is a chat of the AI SDK', async () => {
    const chat = new Chat('c1', await open())
    await chat.sendMessage({ text: 'Why?' })
    expect([chat.status, chat.error]).toEqual(['ready', undefined])
    expect(chat.texts).toEqual(['Why?', TEXT])
  })

  it('resumes the answer of a chat on another server, after the first has handed over', async () => {
    const [a, b] = [await open(), await open()]
    const { chat, handedOver } = await halfRead(a)
    expect(chat.status).toBe('error')
    expect(chat.texts[1]?.length).toBeLessThan(TEXT.length)
    // The page is opened anew; its user's messages are stored, the half answer is not.
    const again = new Chat('c1', b, chat.messages.slice(0, 1))
    await again.resumeStream()
    expect([again.status, again.error]).toEqual(['ready', undefined])
    expect(again.texts).toEqual(['Why?', TEXT])
    await handedOver
    expect(upstream.requests.map(({ outcome }) => outcome)).toEqual(['complete'])
  })

  it('continues a half-received message and shows nothing twice', async () => {
    const [a, b] = [await open(), await open()]
    const { chat, handedOver } = await halfRead(a)
    expect(chat.texts[1]?.length).toBeLessThan(TEXT.length)
    const again = new Chat('c1', b, chat.messages)
    await again.resumeStream()
    expect(again.texts).toEqual(['Why?', TEXT])
    await handedOver
  })

  it('has nothing to resume when nothing was asked or the stream is gone', async () => {
    const site = await open()
    for (const [chat, stream] of [
      ['new', undefined],
      ['old', 'f'.repeat(32)],
    ] as const) {
      if (stream !== undefined) chats.set(chat, stream)
      const answer = await fetch(`${site.url}/api/chat/${chat}/stream`)
      expect([answer.status, await answer.text()]).toEqual([204, ''])
      const resumed = new Chat(chat, site)
      await resumed.resumeStream()
      expect([resumed.status, resumed.messages]).toEqual(['ready', []])
    }
  })

  it('stops a chat upstream when nobody reads it any more', async () => {
    const site = await open()
    upstream.fault({ stallAfterChunks: 3 })
    const chat = new Chat('c1', site)
    const sent = chat.sendMessage({ text: 'Why?' })
    await expect.poll(() => chat.texts[1]?.length, { timeout: 10_000 }).toBeGreaterThan(3)
    await chat.stop()
    await sent
    const stopped = await fetch(`${site.url}/ai/v1/streams/${chats.get('c1')}`, {
      method: 'DELETE',
    })
    expect(stopped.status).toBe(204)
    await upstream.waitFor(({ active }) => active === 0)
  })
})
