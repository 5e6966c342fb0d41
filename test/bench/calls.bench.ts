import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createBlossom, pool, queue, standard } from 'blossom-stack'
import { Pool } from 'undici'
import { inTurn, seconds } from './rounds.js'

export const title = 'JSON calls and stream chunks a second, 16 at a time, upstream in another process'

const CALLS = 4_000
const STREAMS = 100
const CHUNKS = 201

export async function run() {
  const upstream = fork(join(import.meta.dirname, 'upstream.mjs'))
  const [port] = (await once(upstream, 'message')) as [number]
  const origin = `http://127.0.0.1:${port}`
  const raw = new Pool(origin, { connections: 16 })
  const plain = createBlossom({ baseURL: origin, dispatcher: raw })
  // The standard layers, but wide enough for 16 at a time.
  const [cache, dedupe, timeout, retry, breaker, , attempt] = standard()
  const full = createBlossom({ baseURL: origin }).use(
    cache,
    dedupe,
    timeout,
    retry,
    breaker,
    queue({ concurrency: 16 }),
    attempt,
    pool({ connections: 16 }),
  )
  let n = 0
  const body = () => ({ model: 'openai', messages: [{ role: 'user', content: `Hello ${n++}` }] })
  const headers = { 'content-type': 'application/json' }

  const request = async () => {
    const { body: answer } = await raw.request({ path: '/v1/chat/completions', method: 'POST', headers, body: JSON.stringify(body()) })
    await answer.json()
  }
  const rawStream = async () => {
    const { body: answer } = await raw.request({
      path: '/v1/chat/completions',
      method: 'POST',
      headers,
      body: JSON.stringify({ ...body(), stream: true }),
    })
    let rest = ''
    let chunks = 0
    const decoder = new TextDecoder()
    for await (const bytes of answer) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line.startsWith('data: {') && JSON.parse(line.slice(6))) chunks++
    }
    if (chunks !== CHUNKS) throw new Error(`${chunks} chunks`)
  }
  const stream = (client: { chat: { stream(body: never): Promise<AsyncIterable<unknown>> } }) => async () => {
    let chunks = 0
    for await (const _ of await client.chat.stream(body() as never)) chunks++
    if (chunks !== CHUNKS) throw new Error(`${chunks} chunks`)
  }
  const perSecond = (total: number, each: number, work: () => Promise<unknown>) => async () =>
    (total * each) / (await seconds(total, 16, work))
  try {
    const calls = await inTurn('calls/s', 5, {
      'undici request()': perSecond(CALLS, 1, request),
      'client without layers': perSecond(CALLS, 1, () => plain.chat.create(body())),
      'client, standard layers, all misses': perSecond(CALLS, 1, () => full.chat.create(body())),
    })
    const chunks = await inTurn('chunks/s', 5, {
      'undici request(), hand-written reader': perSecond(STREAMS, CHUNKS, rawStream),
      'stream, client without layers': perSecond(STREAMS, CHUNKS, stream(plain as never)),
      'stream, standard layers': perSecond(STREAMS, CHUNKS, stream(full as never)),
    })
    console.table(
      calls.map(({ contender, value, ratio, spread }) => ({
        contender,
        'calls/s': Math.round(value),
        ratio: Number(ratio.toFixed(2)),
        spread,
      })),
    )
    return chunks
  } finally {
    await full.close()
    await plain.close()
    await raw.destroy()
    upstream.disconnect()
  }
}
