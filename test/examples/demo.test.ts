import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { EXAMPLES, FRAMEWORKS, post, run, upstreamFor } from '../support/example-process.js'

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
    onTestFinished(() => void other.close())
    const { port } = other.address() as AddressInfo
    const running = demo(['express'], { PORT: String(port) })
    expect(await running.exit).toEqual([1, null])
    expect(running.output).toContain(`Port ${port} is taken`)
  })
})
