import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { createBlossom, standard } from 'blossom-stack'
import { createGateway } from 'blossom-stack/http'
import type { LocalBlossom } from 'blossom-stack/testing'
import { tsImport } from 'tsx/esm/api'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import type { Start } from '../examples/program.js'
import { shutDown } from '../examples/shutdown.js'
import { EXAMPLES, FRAMEWORKS, post, upstreamFor } from './support/example-process.js'
// The tests that users copy run here as they are.
import '../examples/test/express.test.js'
import '../examples/test/hono.test.js'
import '../examples/test/koa.test.js'

async function boot(name: string, upstream: LocalBlossom) {
  // Vitest leaves decorators as they are, which Node does not know.
  const path = `../examples/${name}.ts`
  const { start } = (
    name === 'nest' ? await tsImport(path, import.meta.url) : await import(path)
  ) as { start: Start }
  const blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(...standard())
  const gateway = createGateway(blossom)
  const server = await start(blossom, gateway, 0, '127.0.0.1')
  const stop = (timeoutMs = 5_000) => shutDown({ server, gateway, blossom, timeoutMs })
  onTestFinished(() => stop(0))
  return { server, stop, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe.each(EXAMPLES)('examples/%s.ts', (name) => {
  it('boots, serves the gateway with its WebSockets, and stops', async () => {
    const { server, stop, url } = await boot(name, await upstreamFor())
    const answer = await post(`${url}/generate/text`, { prompt: 'Hello' })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ text: expect.stringContaining('Hello') })
    expect(await (await post(`${url}/generate/stream`, { prompt: 'Hello' })).text()).toMatch(
      /data: \[DONE\]\n\n$/,
    )
    for (const path of ['/health', '/docs', '/openapi.json', '/v1/models'])
      expect((await fetch(url + path)).status, path).toBe(200)
    const unknown = await fetch(`${url}/nowhere`)
    expect(unknown.status).toBe(404)
    expect(unknown.headers.get('content-type')).toMatch(/json/)
    expect(unknown.headers.get('x-powered-by')).toBe(name === 'nest' ? 'Express' : null)

    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws/generate`)
    const messages: { type: string }[] = []
    socket.on('message', (data) => messages.push(JSON.parse(String(data))))
    await once(socket, 'open')
    socket.send(JSON.stringify({ type: 'generate', prompt: 'Hello' }))
    await expect
      .poll(() => messages.at(-1), { timeout: 5_000 })
      .toMatchObject({ type: 'result', text: expect.stringContaining('Hello') })
    const closed = once(socket, 'close')
    await stop()
    expect((await closed)[0]).toBe(1001)
    expect(server.listening).toBe(false)
    await expect(fetch(`${url}/health/live`)).rejects.toThrow()
  })

  it('keeps a connection usable after a body that is too large', async () => {
    const { server } = await boot(name, await upstreamFor())
    const body = JSON.stringify({ prompt: 'x'.repeat(2 ** 21) })
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    let received = ''
    socket.on('data', (bytes) => {
      received += bytes
    })
    const head = `host: here\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`
    socket.write(
      `POST /generate/text HTTP/1.1\r\n${head}\r\n\r\n${body}GET /health/live HTTP/1.1\r\nhost: here\r\n\r\n`,
    )
    // Well within the time after which an idle connection is closed.
    await expect
      .poll(() => received.match(/(?<=HTTP\/1\.1 )\d+/g), { timeout: 4_000 })
      .toEqual(['413', '200'])
  })

  it('cuts off an endless body at the limit', async () => {
    const upstream = await upstreamFor()
    const { stop, url } = await boot(name, upstream)
    upstream.fault({ stallAfterChunks: 2 })
    const streamed = await post(`${url}/generate/stream`, { prompt: 'Never ends' })
    const text = streamed.text()
    const stopped = stop(300)
    expect(await text).toMatch(/event: error\ndata: \[ERROR\] \{"code":"CLOSED".*\n\n$/)
    await stopped
    await upstream.waitFor(({ active }) => active === 0)
  })
})

describe.each(FRAMEWORKS)('examples/%s.ts', (name) => {
  const headers = { 'content-type': 'application/json', 'accept-encoding': 'gzip' }

  it.each(['/generate/stream', '/hand/stream'])(
    'does not hold events of %s back for its compression',
    async (path) => {
      const upstream = await upstreamFor()
      const { url } = await boot(name, upstream)
      // Upstream is silent after three chunks: what arrives of them has not waited for more.
      upstream.fault({ stallAfterChunks: 3 })
      const stream = await post(`${url}${path}`, { prompt: 'Hello' }, { headers })
      expect(stream.headers.get('content-encoding')).toBe(null)
      const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      while (text.split('\n\n').length <= 3) text += (await reader.read()).value
      expect(text).toMatch(/^(data: \{"text":.*\n\n){3}/)
      await reader.cancel()
      await upstream.waitFor(({ active }) => active === 0)
    },
  )

  it('compresses JSON, the gateway’s and its own', async () => {
    const { url } = await boot(name, await upstreamFor({ words: 500 }))
    const answers = [
      await fetch(`${url}/openapi.json`, { headers }),
      await post(`${url}/generate/text`, { prompt: 'Hello', max_tokens: 1_000 }, { headers }),
      await post(`${url}/hand/text`, { prompt: 'Hello' }, { headers }),
    ]
    expect(answers.map((answer) => answer.headers.get('content-encoding'))).toEqual([
      'gzip',
      'gzip',
      'gzip',
    ])
    for (const answer of answers) expect(await answer.json()).toEqual(expect.any(Object))
  })
})
