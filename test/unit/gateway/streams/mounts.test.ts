import { describe, expect, it } from 'vitest'
import { frameworks } from '../../../support/http-frameworks.js'
import { openSite, type Site, sameFromEach } from '../../../support/http-site.js'
import { completeEvents, lastIdIn } from '../../../support/resuming.js'

const CHAT = { messages: [{ role: 'user', content: 'Hello' }], stream: true }
const ORIGIN = 'https://app.example'
const resumable = { 'x-stream-resumable': 'true' }
const options = {
  upstream: { words: 30, chunkDelayMs: 5 },
  gateway: { streams: true, corsOrigins: [ORIGIN] },
}

const idIn = (headers: Record<string, unknown>): string => String(headers['x-stream-id'])

/** Reads a stream until its connection is broken behind so many characters. */
async function cutAfter(site: Site, path: string, body: object, length: number) {
  const visit = await site.visit(path, { body, headers: resumable })
  let text = ''
  while (text.length < length) text += await visit.next()
  visit.leave()
  return { id: idIn(visit.response.headers), text }
}

describe.each(frameworks)('a stream of a server of $name whose connection breaks', (framework) => {
  it.each([
    ['/v1/chat/completions', CHAT],
    ['/generate/stream', { prompt: 'Hello' }],
  ])('continues, and another connection can read the rest of %s', async (path, body) => {
    await using site = await openSite(framework, options)
    const { id, text } = await cutAfter(site, path, body, 300)
    await site.logged(1)
    expect(site.log[0]).toMatchObject({
      route: path,
      status: 499,
      firstTokenMs: expect.any(Number),
    })
    const rest = await site.ask(`/v1/streams/${id}`, {
      headers: { 'last-event-id': `${lastIdIn(text)}` },
    })
    expect(rest.status).toBe(200)
    expect(rest.headers['x-stream-id']).toBe(id)
    const whole = completeEvents(text).join('') + rest.text
    expect(whole).toMatch(/data: \[DONE\]\n\n$/)
    expect([...whole.matchAll(/^id: (\d+)$/gm)].map(([, n]) => Number(n))).toEqual(
      Array.from({ length: completeEvents(whole).length }, (_, i) => i),
    )
    expect((await site.ask(`/v1/streams/${id}`)).text).toBe(whole)
    expect(site.upstream.requests.map(({ outcome }) => outcome)).toEqual(['complete'])
    await site.logged(3)
    expect(site.log.slice(1)).toMatchObject([
      { route: '/v1/streams/{id}', status: 200 },
      { route: '/v1/streams/{id}', status: 200 },
    ])
    expect(site.errors).toEqual([])
  })

  it('is stopped upstream by DELETE', async () => {
    await using site = await openSite(framework, options)
    site.upstream.faults.push({ stallAfterChunks: 3 })
    const { id } = await cutAfter(site, '/v1/chat/completions', CHAT, 300)
    const stopped = await site.ask(`/v1/streams/${id}`, { method: 'DELETE' })
    expect([stopped.status, stopped.text]).toEqual([204, ''])
    await site.upstream.waitFor(({ active }) => active === 0)
    expect((await site.ask(`/v1/streams/${id}`)).status).toBe(410)
  })
})

describe('the routes of streams', () => {
  it('answer alike in each framework', async () => {
    const outcomes = await sameFromEach(options, async (site) => {
      const begun = await site.ask('/v1/chat/completions', { body: CHAT, headers: resumable })
      const id = idIn(begun.headers)
      const last = lastIdIn(begun.text)
      const statuses: unknown[] = []
      for (const [method, path] of [
        ['GET', `/v1/streams/${id}?after=2`],
        ['HEAD', `/v1/streams/${id}`],
        ['GET', `/v1/streams/${id}?after=${last}`],
        ['GET', `/v1/streams/${id}?after=none`],
        ['GET', '/v1/streams/unknown'],
        ['GET', '/v1/streams/'],
        ['GET', `/v1/streams/${id}/more`],
        ['PUT', `/v1/streams/${id}`],
        ['DELETE', `/v1/streams/${id}`],
        ['DELETE', `/v1/streams/${id}`],
        ['GET', `/v1/streams/${id}`],
      ]) {
        const { status, text } = await site.ask(path as string, { method: method as string })
        statuses.push([status, text.length])
      }
      return statuses
    })
    expect(outcomes.map((one) => (one as number[])[0])).toEqual([
      200, 200, 204, 400, 404, 404, 404, 405, 204, 204, 410,
    ])
  })

  it('let pages from allowed origins read and send the headers they need', async () => {
    await sameFromEach(options, async (site) => {
      const begun = await site.ask('/v1/chat/completions', {
        body: CHAT,
        headers: { ...resumable, origin: ORIGIN },
      })
      expect(begun.headers['access-control-expose-headers']).toContain('x-stream-id')
      const path = `/v1/streams/${idIn(begun.headers)}`
      const preflight = await site.ask(path, {
        method: 'OPTIONS',
        headers: { origin: ORIGIN, 'access-control-request-method': 'DELETE' },
      })
      expect(preflight.status).toBe(204)
      expect(preflight.headers['access-control-allow-methods']).toBe('GET, HEAD, DELETE')
      for (const name of ['last-event-id', 'x-stream-resumable'])
        expect(preflight.headers['access-control-allow-headers']).toContain(name)
      const rest = await site.ask(path, { headers: { origin: ORIGIN } })
      expect(rest.headers['access-control-allow-origin']).toBe(ORIGIN)
    })
  })
})
