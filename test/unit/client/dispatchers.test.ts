import { Agent, type Dispatcher, interceptors } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { collect, createBlossom, standard } from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { closedPort } from '../../support/bare-server.js'

let upstream: LocalBlossom
beforeEach(async () => {
  upstream = await startLocalBlossom({ words: () => 300 })
})
afterEach(() => upstream.close())

/** Node's own dispatcher: of undici 6 in Node 20 and 22, of a later one after them. */
async function builtIn(): Promise<Dispatcher> {
  await fetch(`${upstream.url}/v1/models`)
  const key = Symbol.for('undici.globalDispatcher.1')
  return (globalThis as unknown as Record<symbol, Dispatcher>)[key] as Dispatcher
}

describe.each([
  ['Node’s own', builtIn],
  ['an Agent', async () => new Agent()],
  ['an Agent with an interceptor', async () => new Agent().compose(interceptors.redirect())],
])('a dispatcher: %s', (_name, make) => {
  it('carries answers, streams and errors', async () => {
    const dispatcher = await make()
    await using blossom = createBlossom({ baseURL: upstream.url, dispatcher })
    expect((await blossom.text.generate('Hello')).text).not.toBe('')
    const pieces = await collect(await blossom.text.stream('Hello'))
    expect(pieces.length).toBeGreaterThan(100)
    upstream.fault({ status: 429, retryAfter: 7 })
    await expect(blossom.text.generate('More')).rejects.toMatchObject({
      code: 'RATE_LIMITED',
      retryAfter: 7_000,
    })
    upstream.fault({ cutAfterChunks: 3 })
    await expect(
      blossom.text.stream('Even more').then((stream) => collect(stream)),
    ).rejects.toMatchObject({ code: 'STREAM' })
  })

  it('cancels abandoned streams upstream and waits for a slow reader', async () => {
    const dispatcher = await make()
    await using blossom = createBlossom({ baseURL: upstream.url, dispatcher }).use(...standard())
    upstream.fault({ stallAfterChunks: 3 })
    for await (const _ of await blossom.text.stream('Hello')) break
    await upstream.waitFor(({ active }) => active === 0, 1_000)
    upstream.fault({ bigBody: 4 * 1024 * 1024 })
    let count = 0
    for await (const _ of await blossom.text.stream('Hello again')) {
      if (count++ === 0) await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(count).toBeGreaterThan(100)
  })

  it('reports a connection that is refused', async () => {
    const dispatcher = await make()
    const baseURL = `http://127.0.0.1:${await closedPort()}`
    await using blossom = createBlossom({ baseURL, dispatcher })
    await expect(blossom.text.generate('Hello')).rejects.toMatchObject({ code: 'NETWORK' })
  })
})

it('an incompatible dispatcher is named in the error', async () => {
  const dispatcher = {
    dispatch() {
      throw Object.assign(new Error('invalid onError method'), { code: 'UND_ERR_INVALID_ARG' })
    },
  } as unknown as Dispatcher
  await using blossom = createBlossom({ baseURL: upstream.url, dispatcher })
  await expect(blossom.text.generate('Hello')).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringContaining('"dispatcher"'),
  })
})
