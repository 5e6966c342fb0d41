import { once } from 'node:events'
import { createContext, runInContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { createGateway } from '../../src/gateway/index.js'
import {
  base,
  cache,
  collect,
  createBlossom,
  dedupe,
  retry,
  stack,
  toNodeReadable,
  toWebStream,
} from '../../src/index.js'
import { chaos, scripted, startLocalBlossom } from '../../src/testing/index.js'
import { catchWarnings } from '../support/warnings.js'
import { failure } from '../support/watch.js'

const realm = createContext({})

/** A value of another realm: its `Object`, `Error`, `Map` and so on are not ours. */
// biome-ignore lint/suspicious/noExplicitAny: it is whatever the text says
const foreign = (text: string): any => runInContext(`(${text})`, realm)

const quick = { minDelayMs: 0, maxDelayMs: 0 }

/** How often a call is made whose first attempts fail with this. */
async function attemptsFor(error: unknown): Promise<number> {
  let calls = 0
  const ask = stack(async () => {
    calls++
    throw error
  }, retry(quick))
  expect(await failure(ask())).toBe(error)
  return calls
}

describe('a value from another realm', () => {
  it('is not an instance of our own classes, which these tests rely on', () => {
    expect(foreign('new TypeError("x")')).not.toBeInstanceOf(Error)
    expect(foreign('{}')).not.toBeInstanceOf(Object)
    expect(foreign('new Map()')).not.toBeInstanceOf(Map)
  })

  it('is retried like the same error from our realm', async () => {
    expect(await attemptsFor(foreign('new TypeError("x is not a function")'))).toBe(1)
    expect(await attemptsFor(foreign('new TypeError("fetch failed")'))).toBe(3)
    expect(await attemptsFor(foreign('new Error("x")'))).toBe(3)
    expect(
      await attemptsFor(foreign('Object.assign(new Error("x"), { name: "AbortError" })')),
    ).toBe(1)
    expect(await attemptsFor(new DOMException('x', 'AbortError'))).toBe(1)
  })

  it('does not count as true when it is a promise from a callback', async () => {
    let calls = 0
    const warnings = catchWarnings()
    const work = async () => {
      calls++
      throw foreign('new TypeError("a bug")')
    }
    await failure(stack(work, retry({ ...quick, when: foreign('async () => true') }))())
    expect(calls).toBe(1)
    expect(warnings.join()).toContain('retry: when()')
  })

  it('has an identity as a request', async () => {
    let calls = 0
    const ask = stack(async (_: { a: number; b?: number[] }) => ++calls, cache())
    expect(await ask({ a: 1, b: [2] })).toBe(1)
    expect(await ask(foreign('{ b: [2], a: 1 }'))).toBe(1)
    expect(ask.stats().cache).toMatchObject({ hits: 1, unkeyed: 0 })
  })

  it('is deeply frozen as an answer, with its bytes copied', async () => {
    const answer = foreign('{ list: [{ n: 1 }], bytes: new Uint8Array([1, 2]) }')
    const ask = stack(async (_: string) => answer, cache(), dedupe())
    const [first, second] = await Promise.all([ask('q'), ask('q')])
    expect(Object.isFrozen(first.list[0])).toBe(true)
    first.bytes[0] = 9
    for (const other of [second, await ask('q')])
      expect(other).toMatchObject({ list: [{ n: 1 }], bytes: Buffer.from([1, 2]) })
  })

  it('is kept in a store outside the process', async () => {
    let calls = 0
    const work = async (_: string) => foreign(`{ n: ${++calls}, bytes: new Uint8Array([7]) }`)
    const ask = stack(base(work, { key: (request) => request }), cache({ store: new Map() }))
    await ask('q')
    await new Promise((resolve) => setImmediate(resolve))
    expect(await ask('q')).toEqual({ n: 1, bytes: Buffer.from([7]) })
  })

  it('is accepted as a map for notes', async () => {
    const meta = foreign('new Map()')
    expect(await stack(async () => 1, retry())(undefined, { meta })).toBe(1)
    expect(meta.get('timeline')).toHaveLength(4)
  })

  it('is not taken for options when it is a signal', async () => {
    const like = { aborted: false, addEventListener() {}, removeEventListener() {} }
    expect(await failure(stack(async () => 1)(undefined, like as never))).toMatchObject({
      code: 'VALIDATION',
    })
  })

  it('goes out as bytes and as a web stream', async () => {
    const bytes = () => foreign('(async function* () { yield new Uint8Array([104, 105]) })()')
    expect(Buffer.concat(await collect(toNodeReadable(bytes()))).toString()).toBe('hi')
    expect(await new Response(toWebStream(bytes())).text()).toBe('hi')
  })

  it('fails a Node stream with the same error object', async () => {
    const error = foreign('new Error("broke")')
    async function* broken() {
      yield 'a'
      throw error
    }
    const readable = toNodeReadable(broken()).resume()
    expect(await once(readable, 'error').catch((thrown) => [thrown])).toEqual([error])
  })

  it('is accepted as a step and a fault in tests', async () => {
    const error = foreign('new Error("step")')
    expect(await failure(stack(scripted([error]))('x'))).toBe(error)
    const spoilt = stack(async () => 1, chaos({ failRate: 1, error }))
    expect(await failure(spoilt())).toBe(error)
  })

  it('answers a request of the gateway, when it is a Response', async () => {
    const local = await startLocalBlossom()
    const blossom = createBlossom({ baseURL: local.url })
    // Of another implementation, as of undici's own package, or of node-fetch.
    const response = {
      status: 418,
      headers: new Headers({ 'x-own': 'yes' }),
      ok: false,
      body: null,
      bodyUsed: false,
      arrayBuffer: async () => new ArrayBuffer(0),
    }
    const gateway = createGateway(blossom, { call: () => response as never })
    const answer = await gateway(
      new Request('http://localhost/generate/text', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"prompt":"x"}',
      }),
    )
    expect(answer.status).toBe(418)
    expect(answer.headers.get('x-own')).toBe('yes')
    expect(local.requests).toHaveLength(0)
    await blossom.close()
    await local.close()
  })
})
