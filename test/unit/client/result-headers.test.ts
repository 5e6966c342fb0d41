import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Blossom, cache, collect, createBlossom } from '../../../src/index.js'
import { type BareServer, httpServer } from '../../support/bare-server.js'

const KEY = 'sk_test'
const SENT = {
  'x-request-id': 'req-1',
  'x-cache': 'MISS',
  'x-model-used': 'mistral',
  'x-ratelimit-remaining-tokens': '99',
  'set-cookie': 'a=b',
  server: 'x',
  ratelimit: `"requests";r=1 ${KEY}`,
}
/** Without what could be a secret, or holds the key. */
const KEPT = {
  'x-request-id': 'req-1',
  'x-cache': 'MISS',
  'x-model-used': 'mistral',
  'x-ratelimit-remaining-tokens': '99',
}
const chunk = { choices: [{ index: 0, delta: { content: 'Hi' }, finish_reason: 'stop' }] }
const ANSWERS: Readonly<Record<string, object>> = {
  '/v1/chat/completions': {
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }],
  },
  '/v1/embeddings': { data: [{ index: 0, embedding: [1] }] },
  '/v1/audio/transcriptions': { text: 'Hi' },
  '/v1/images/edits': { data: [{ b64_json: 'AAAA' }] },
  '/v1/responses': { output: [] },
}

describe('the headers of a result', () => {
  let server: BareServer
  let blossom: Blossom
  beforeEach(async () => {
    server = await httpServer(({ path, body }, response) => {
      for (const [name, value] of Object.entries(SENT)) response.setHeader(name, value)
      const answer = ANSWERS[path]
      if (body.includes('"stream":true'))
        return response
          .writeHead(200, { 'content-type': 'text/event-stream' })
          .end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`)
      if (answer !== undefined)
        return response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify(answer))
      response.writeHead(200, { 'content-type': 'image/png', 'content-length': 1 }).end('x')
    })
    blossom = createBlossom({ apiKey: KEY, baseURL: server.url }).use(cache())
  })
  afterEach(async () => {
    await blossom.close({ timeoutMs: 0 })
    await server[Symbol.asyncDispose]()
  })

  it('are upstream’s safe headers for every method that returns our own result type', async () => {
    const bytes = new Uint8Array(1)
    const stream = await blossom.text.stream('Another')
    const results = [
      await blossom.text.generate('Hello'),
      stream,
      await blossom.image.generate('Hello'),
      await blossom.image.edit('Hello', { image: bytes }),
      await blossom.audio.speech('Hello'),
      await blossom.audio.transcribe(bytes),
      await blossom.video.generate('Hello'),
      await blossom.embeddings.create('Hello'),
    ]
    for (const { headers } of results) expect(headers).toEqual(KEPT)
    await collect(stream)
  })

  it('are in the meta of calls that return upstream’s own result', async () => {
    const messages = [{ role: 'user', content: 'Hello' }]
    for (const ask of [
      (meta: Map<string, unknown>) => blossom.chat.create({ messages }, { meta }),
      (meta: Map<string, unknown>) => blossom.responses.create({ input: 'Hello' }, { meta }),
      (meta: Map<string, unknown>) => blossom.request({ path: '/x' }, { meta }),
    ]) {
      const meta = new Map<string, unknown>()
      await ask(meta)
      expect(meta.get('client')).toMatchObject({ headers: KEPT, attempts: 1 })
    }
  })

  it('are empty for a cache hit', async () => {
    await blossom.text.generate('Hello')
    const { cached, headers } = await blossom.text.generate('Hello')
    expect([cached, headers]).toEqual([true, {}])
  })
})
