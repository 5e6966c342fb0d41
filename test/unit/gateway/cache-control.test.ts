import { describe, expect, test } from 'vitest'
import type { GatewayOptions } from '../../../src/gateway/index.js'
import { type Site, sameFromEach } from '../../support/http-site.js'

const chat = { messages: [{ role: 'user', content: 'Hello' }] }

/** Asks with each header in turn, and tells how the cache took it and what upstream was asked. */
const sequence =
  (path: string, body: object, headers: readonly (string | undefined)[]) =>
  async ({ ask, upstream }: Site) => {
    const seen: unknown[] = []
    for (const header of headers) {
      const answer = await ask(path, {
        body,
        ...(header !== undefined && { headers: { 'cache-control': header } }),
      })
      seen.push([answer.status, answer.headers['x-cache'], upstream.requests.length])
    }
    return seen
  }

describe('Cache-Control of the request', () => {
  test('no-cache asks upstream again and stores the answer', async () => {
    const headers = [undefined, undefined, 'no-cache', undefined]
    expect(await sameFromEach({}, sequence('/v1/chat/completions', chat, headers))).toEqual([
      [200, 'MISS', 1],
      [200, 'HIT', 1],
      [200, 'MISS', 2],
      [200, 'HIT', 2],
    ])
  })

  test('no-store asks upstream and stores nothing', async () => {
    const headers = ['no-store', undefined, 'no-store, no-cache', undefined]
    expect(await sameFromEach({}, sequence('/v1/chat/completions', chat, headers))).toEqual([
      [200, undefined, 1],
      [200, 'MISS', 2],
      [200, undefined, 3],
      [200, 'HIT', 3],
    ])
  })

  test('applies to streams and embeddings, too', async () => {
    const headers = [undefined, 'NO-CACHE', undefined]
    const expected = [
      [200, 'MISS', 1],
      [200, 'MISS', 2],
      [200, 'HIT', 2],
    ]
    const stream = { ...chat, stream: true }
    expect(await sameFromEach({}, sequence('/v1/chat/completions', stream, headers))).toEqual(
      expected,
    )
    const input = { input: 'one' }
    expect(await sameFromEach({}, sequence('/v1/embeddings', input, headers))).toEqual(expected)
  })

  test.each(['max-age=0', 'private', 'no-cache=x', 'x-no-store', ''])(
    '%j does not change how the cache is used',
    async (header) => {
      const headers = [undefined, header]
      expect(
        (await sameFromEach({}, sequence('/v1/chat/completions', chat, headers))).at(-1),
      ).toEqual([200, 'HIT', 1])
    },
  )

  test('has no effect on the guide’s routes', async () => {
    const headers = [undefined, 'no-cache']
    expect(
      (await sameFromEach({}, sequence('/generate/cached', { prompt: 'a' }, headers))).at(-1),
    ).toEqual([200, 'HIT', 1])
  })

  test('has no effect with `clientCacheControl: false`', async () => {
    const gateway = { clientCacheControl: false }
    const headers = [undefined, 'no-cache', 'no-store']
    expect(
      (await sameFromEach({ gateway }, sequence('/v1/chat/completions', chat, headers))).at(-1),
    ).toEqual([200, 'HIT', 1])
  })
})

describe('`cache` from the option `call`', () => {
  const call: GatewayOptions<never>['call'] = (request) => ({
    cache: (request.headers.get('x-cache-mode') ?? undefined) as never,
  })
  const ask = (path: string, body: object, modes: readonly (string | undefined)[], header = '') =>
    sameFromEach({ gateway: { call } }, async ({ ask, upstream }) => {
      for (const mode of modes) {
        const headers = {
          'cache-control': header,
          ...(mode !== undefined && { 'x-cache-mode': mode }),
        }
        const { status } = await ask(path, { body, headers })
        if (status !== 200) return status
      }
      return upstream.requests.length
    })

  test('decides what is stored and read', async () => {
    expect(await ask('/v1/chat/completions', chat, ['default', 'default'])).toBe(1)
    expect(await ask('/v1/chat/completions', chat, ['default', 'reload', 'default'])).toBe(2)
    expect(await ask('/v1/chat/completions', chat, ['no-store', 'no-store'])).toBe(2)
    expect(await ask('/generate/cached', { prompt: 'a' }, ['default', 'reload', undefined])).toBe(2)
    expect(await ask('/generate/cached', { prompt: 'a' }, ['no-store', 'no-store'])).toBe(2)
  })

  test('wins over the client’s header', async () => {
    const modes = ['default', 'default']
    expect(await ask('/v1/chat/completions', chat, modes, 'no-cache')).toBe(1)
  })

  test('does not make other routes use the cache', async () => {
    expect(await ask('/generate/text', { prompt: 'a' }, ['default', 'default'])).toBe(2)
  })

  test('answers 500 for an invalid mode', async () => {
    expect(await ask('/v1/chat/completions', chat, ['force-cache'])).toBe(500)
  })
})
