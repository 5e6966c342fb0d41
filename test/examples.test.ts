import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Blossom, createBlossom, standard } from 'blossom-stack'
import { createGateway, type Gateway } from 'blossom-stack/http'
import {
  type LocalBlossom,
  type LocalBlossomOptions,
  startLocalBlossom,
} from 'blossom-stack/testing'
import { tsImport } from 'tsx/esm/api'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { shutDown } from '../examples/shutdown.js'
// The tests that users copy run here as they are.
import '../examples/test/express.test.js'
import '../examples/test/hono.test.js'
import '../examples/test/koa.test.js'

const root = join(import.meta.dirname, '..')
const FRAMEWORKS = ['express', 'koa', 'hono']
const EXAMPLES = [...FRAMEWORKS, 'node-http', 'fastify', 'nest']

type Start = (
  blossom: Blossom<readonly unknown[]>,
  gateway: Gateway,
  port: number,
  host: string,
) => Promise<Server>

const post = (url: string, body: object, init?: RequestInit) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...init,
  })

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function upstreamFor(options?: LocalBlossomOptions): Promise<LocalBlossom> {
  const upstream = await startLocalBlossom(options)
  ends.push(() => upstream.close())
  return upstream
}

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
  ends.push(() => stop(0))
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
    ends.push(() => socket.destroy())
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

  it('cuts at the limit what does not end', async () => {
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

/** An example or the demo as a process of its own. */
function run(args: readonly string[], env: NodeJS.ProcessEnv) {
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { PATH, HOME, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const running = {
    child,
    output: '',
    exit: once(child, 'close') as Promise<[number | null, string | null]>,
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      running.output += text
    })
  }
  ends.push(() => end(child))
  return running
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

const statusOf = (answer: Promise<Response>): Promise<unknown> =>
  answer.then(({ status }) => status).catch(() => 'refused')

describe.each(FRAMEWORKS)('node --import tsx examples/%s.ts', (name) => {
  async function launch(upstream: LocalBlossom) {
    const env = {
      POLLINATIONS_API_KEY: 'sk_test',
      BLOSSOM_BASE_URL: upstream.url,
      BLOSSOM_QUEUE_CONCURRENCY: '20',
      BLOSSOM_POOL_CONNECTIONS: '20',
    }
    const running = run(['--import', 'tsx', `examples/${name}.ts`], env)
    await expect.poll(() => running.output, { timeout: 20_000 }).toContain('Listening')
    return { ...running, url: `http://127.0.0.1:${/port: (\d+)/.exec(running.output)![1]}` }
  }

  it('lets 20 open streams finish after SIGTERM, takes no new calls, and exits 0', async () => {
    // Those of the hand-written route are longer: only the client knows of them.
    const upstream = await upstreamFor({
      chunkDelayMs: 20,
      words: ({ rawBody }) => (rawBody.includes('by hand') ? 150 : 0),
    })
    const { child, exit, url } = await launch(upstream)
    const stories = Array.from({ length: 10 }, (_, i) => [
      post(`${url}/generate/stream`, { prompt: `Story ${i}`, max_tokens: 50 }),
      post(`${url}/hand/stream`, { prompt: `Story ${i} by hand` }),
    ])
    const streams = await Promise.all(stories.flat())
    child.kill('SIGTERM')
    await expect
      .poll(() => statusOf(fetch(`${url}/health/ready`)), { timeout: 5_000 })
      .not.toBe(200)
    expect(await statusOf(post(`${url}/generate/text`, { prompt: 'Late' }))).not.toBe(200)
    await expect(once(connect(Number(new URL(url).port), '127.0.0.1'), 'connect')).rejects.toThrow(
      'ECONNREFUSED',
    )
    for (const stream of streams) expect(await stream.text()).toMatch(/data: \[DONE\]\n\n$/)
    expect(await exit).toEqual([0, null])
    expect(upstream.requests.map(({ outcome }) => outcome)).toEqual(Array(20).fill('complete'))
  })

  it('exits at once on a second SIGTERM', async () => {
    const upstream = await upstreamFor()
    const { child, exit, url } = await launch(upstream)
    upstream.fault({ stallAfterChunks: 2 })
    const streamed = await post(`${url}/hand/stream`, { prompt: 'Never ends' })
    child.kill('SIGTERM')
    await expect
      .poll(() => statusOf(fetch(`${url}/health/ready`)), { timeout: 5_000 })
      .not.toBe(200)
    expect(child.exitCode).toBe(null)
    child.kill('SIGTERM')
    expect(await exit).toEqual([1, null])
    await expect(streamed.text()).rejects.toThrow()
  })
})

describe('node --import tsx examples/any-function.ts', () => {
  it('shows what each layer does for a database', async () => {
    const running = run(['--import', 'tsx', 'examples/any-function.ts'], {})
    expect([await running.exit, running.output]).toEqual([[0, null], expect.any(String)])
    expect(running.output.trimEnd().split('\n')).toEqual([
      '200 callers: 10 queries, at most 4 at once',
      'two failures that pass: flower 11, after 2 retries',
      'a mistake: 42601 syntax error at or near "selec"',
      'it was asked 1 time; the breaker is closed',
      'a slow query: TIMEOUT after 100 ms; still running in the database: 0',
      expect.stringMatching(/^the server is down: BREAKER_OPEN, try again in \d+ s$/),
      'what the cache holds is served all the same: flower 3',
      'reads: 1 from the cache, 190 shared, 12 queries that went well',
    ])
  })
})

describe('node --import tsx examples/batch.ts', () => {
  const COUNT = 40
  const range = Array.from({ length: COUNT }, (_, id) => id)
  const promptOf = (id: number) => `Prompt ${id}.`

  function startBatch(upstream: LocalBlossom, folder: string, ...flags: string[]) {
    const prompts = join(folder, 'prompts.jsonl')
    const answers = join(folder, 'answers.jsonl')
    writeFileSync(
      prompts,
      range.map((id) => `${JSON.stringify({ id, prompt: promptOf(id) })}\n`).join('\n'),
    )
    const args = [
      '--import',
      'tsx',
      'examples/batch.ts',
      prompts,
      answers,
      '--concurrency',
      '4',
      ...flags,
    ]
    const running = run(args, { POLLINATIONS_API_KEY: 'sk_test', BLOSSOM_BASE_URL: upstream.url })
    const read = () => {
      const lines = readFileSync(answers, 'utf8').trimEnd().split('\n')
      return lines.map(
        (line) =>
          JSON.parse(line) as {
            id: number
            prompt: string
            text?: string
            error?: { code: string }
          },
      )
    }
    return Object.assign(running, { read })
  }
  function makeFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'batch-'))
    ends.push(() => rmSync(folder, { recursive: true, force: true }))
    return folder
  }

  it.each([[[]], [['--unordered']]])(
    'goes on after Ctrl-C and asks nothing twice, with %j',
    async (flags) => {
      // The second half is slow at first, so that Ctrl-C comes before the end, however late it is.
      let isSlow = true
      const latencyMs = ({ rawBody }: { rawBody: string }) =>
        isSlow && Number(/Prompt (\d+)/.exec(rawBody)?.[1]) >= COUNT / 2 ? 1_500 : 1
      const upstream = await upstreamFor({ latencyMs })
      const folder = makeFolder()
      const first = startBatch(upstream, folder, ...flags)
      await upstream.waitFor(({ requests }) => requests.length > COUNT / 2, 25_000)
      first.child.kill('SIGINT')
      expect([await first.exit, first.output]).toEqual([
        [130, null],
        expect.stringContaining('The same command goes on from here.'),
      ])
      const half = upstream.requests.length
      expect(half).toBeLessThan(COUNT)
      expect(first.read()).toHaveLength(half)

      isSlow = false
      const second = startBatch(upstream, folder, ...flags)
      expect([await second.exit, second.output]).toEqual([
        [0, null],
        expect.stringContaining(`${COUNT} of ${COUNT} in `),
      ])
      expect(second.output).toMatch(/^\d+ of 40, 0 failed, [\d.]+\/s, \d+:\d\d to go$/m)
      const answers = second.read()
      if (flags.length > 0) answers.sort((a, b) => a.id - b.id)
      expect(answers.map(({ id, prompt }) => [id, prompt])).toEqual(
        range.map((id) => [id, promptOf(id)]),
      )
      for (const { id, text } of answers) expect(text).toContain(promptOf(id))
      expect(upstream.requests.map(({ outcome }) => outcome)).toEqual(Array(COUNT).fill('complete'))
    },
  )

  it('cuts the calls in progress at a second Ctrl-C', async () => {
    const upstream = await upstreamFor()
    upstream.fault({ hang: true, times: 4 })
    const running = startBatch(upstream, makeFolder())
    await upstream.waitFor(({ active }) => active === 4, 25_000)
    running.child.kill('SIGINT')
    await expect.poll(() => running.output, { timeout: 10_000 }).toContain('Stopping')
    running.child.kill('SIGINT')
    expect(await running.exit).toEqual([130, null])
    await upstream.waitFor(({ active }) => active === 0)
  })

  it('tells what failed beside its prompt and asks that alone again', async () => {
    const upstream = await upstreamFor()
    const folder = makeFolder()
    upstream.fault({ status: 400, match: ({ rawBody }) => rawBody.includes('Prompt 7.') })
    const first = startBatch(upstream, folder)
    expect(await first.exit).toEqual([1, null])
    expect(first.read()[7]).toEqual({
      id: 7,
      prompt: promptOf(7),
      error: { code: 'BAD_REQUEST', message: expect.any(String) },
    })
    const second = startBatch(upstream, folder)
    expect(await second.exit).toEqual([0, null])
    expect(second.read()[7]?.text).toContain(promptOf(7))
    expect(upstream.requests).toHaveLength(COUNT + 1)
  })

  it('begins no more prompts once the key is refused', async () => {
    const upstream = await upstreamFor()
    // Slow enough for the first refusal to be heard before the last prompt is asked.
    upstream.fault({ status: 401, delayMs: 100, times: COUNT })
    const running = startBatch(upstream, makeFolder())
    expect(await running.exit).toEqual([1, null])
    expect(upstream.requests.length).toBeLessThan(COUNT)
    expect(running.read()[0]).toMatchObject({ id: 0, error: { code: 'AUTH' } })
  })
})

describe('npm run demo', () => {
  const demo = (args: readonly string[], env: NodeJS.ProcessEnv) =>
    run(['examples/demo.mjs', ...args], env)

  it.each(EXAMPLES)(
    'leads from / to the live page, and makes traffic of its own for it: %s',
    async (name) => {
      const running = demo([name, '--traffic'], {})
      await expect.poll(() => running.output, { timeout: 25_000 }).toContain('Ctrl-C stops it.')
      const [, url] = /is ready: (\S+)/.exec(running.output)!
      const [, token] = /admin token: (\S+)/.exec(running.output)!
      const root = await fetch(url!, { redirect: 'manual' })
      expect([root.status, root.headers.get('location')]).toEqual([302, '/live'])
      const signedIn = await fetch(`${url}/live`, {
        method: 'POST',
        body: new URLSearchParams({ token: token! }),
        redirect: 'manual',
      })
      expect([signedIn.status, signedIn.headers.get('location')]).toEqual([303, 'live'])
      const cookie = signedIn.headers.get('set-cookie')!.split(';', 1)[0]!
      const feed = await fetch(`${url}/live/feed`, { headers: { cookie } })
      // Reads until it has seen what it waits for.
      let shown = ''
      for await (const text of feed.body!.pipeThrough(new TextDecoderStream())) {
        shown += text
        if (/"totals":\{"complete":[1-9]/.test(shown) && shown.includes('"tenant":"garden"')) break
      }
      running.child.kill('SIGINT')
      expect(await running.exit).toEqual([0, null])
    },
  )

  it.each(['', ...FRAMEWORKS])(
    'starts %s with a local upstream, and says what can be called',
    async (name) => {
      const running = demo(name === '' ? [] : [name], {})
      await expect.poll(() => running.output, { timeout: 25_000 }).toContain('Ctrl-C stops it.')
      const [, url, framework] = /is ready: (\S+) \((\w+)\)/.exec(running.output)!
      expect(framework).toBe(name || 'hono')
      expect(running.output).toContain('No API key is set, so a local Blossom answers')
      const lines = [
        ...running.output.matchAll(
          /^ {2}curl (?:-N )?(\S+)(?: -H 'content-type: application\/json' -d '(.*)')?$/gm,
        ),
      ]
      expect(lines).toHaveLength(3)
      for (const [, at, body] of lines)
        expect(
          (
            await fetch(
              at!,
              body ? { method: 'POST', headers: { 'content-type': 'application/json' }, body } : {},
            )
          ).status,
        ).toBe(200)
      expect((await fetch(/http\S+\/docs/.exec(running.output)![0])).status).toBe(200)
      const [, token] = /admin token: (\S+)/.exec(running.output)!
      const cleared = await fetch(`${url}/cache/clear`, {
        method: 'DELETE',
        headers: { authorization: `Bearer ${token}` },
      })
      expect(await cleared.json()).toEqual({ message: 'Cache cleared' })
      running.child.kill('SIGINT')
      expect(await running.exit).toEqual([0, null])
    },
  )

  it('uses an upstream of your own without a key', async () => {
    const upstream = await upstreamFor()
    const running = demo([], { BLOSSOM_BASE_URL: upstream.url })
    await expect.poll(() => running.output, { timeout: 25_000 }).toContain('Ctrl-C stops it.')
    expect(running.output).toContain(`Upstream: ${upstream.url}, without an API key`)
    const [, url] = /is ready: (\S+)/.exec(running.output)!
    expect((await post(`${url}/generate/text`, { prompt: 'Hello' })).status).toBe(200)
    expect(upstream.requests).toHaveLength(1)
  })

  it.each([
    [
      'traffic for an upstream that costs something',
      ['--traffic'],
      { POLLINATIONS_API_KEY: 'sk_test' },
      /Traffic is only made for the local Blossom/,
    ],
    [
      'a framework that it does not know',
      ['hapi'],
      {},
      /^Unknown framework "hapi"; there is: hono, express, koa/,
    ],
    ['a wrong port', [], { PORT: 'http' }, /^PORT must be a port number/],
    [
      'a wrong variable',
      [],
      { BLOSSOM_RETRIES: 'many' },
      /^The environment variable BLOSSOM_RETRIES must be/,
    ],
    [
      'a wrong address',
      [],
      { BLOSSOM_BASE_URL: 'nowhere' },
      /^The environment variable BLOSSOM_BASE_URL must be/,
    ],
    ['no key in production', [], { NODE_ENV: 'production' }, /^Set POLLINATIONS_API_KEY/],
    [
      'no key but an address in production',
      [],
      { NODE_ENV: 'production', BLOSSOM_BASE_URL: 'http://127.0.0.1:9' },
      /^Set POLLINATIONS_API_KEY/,
    ],
  ] as const)('stops with one line at %s', async (_, args, env, sentence) => {
    const running = demo(args, env)
    expect(await running.exit).toEqual([1, null])
    expect(running.output).toMatch(sentence)
    expect(running.output.trim()).not.toContain('\n')
  })

  it('names a port that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    ends.push(() => other.close())
    const { port } = other.address() as AddressInfo
    const running = demo(['express'], { PORT: String(port) })
    expect(await running.exit).toEqual([1, null])
    expect(running.output).toContain(`Port ${port} is taken`)
  })
})
