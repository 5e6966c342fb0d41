import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { cache, dedupe } from '../../../../src/index.js'
import { chunkOf, LAST, PacedUpstream } from '../../../support/paced-upstream.js'
import { begin, numbered, openServer, Reading, resume } from '../../../support/resuming.js'
import { catchWarnings } from '../../../support/warnings.js'
import { turn } from '../../../support/watch.js'

let upstream: PacedUpstream
beforeEach(async () => {
  upstream = await PacedUpstream.start()
})
afterEach(async () => {
  vi.restoreAllMocks()
  await upstream[Symbol.asyncDispose]()
})

const CHAT = { model: 'm', messages: [{ role: 'user', content: 'Hello' }], stream: true }

/** A chat whose client leaves with the signal. */
const chatOf = (body: object, signal: AbortSignal) =>
  new Request('http://localhost/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-stream-resumable': 'true' },
    body: JSON.stringify(body),
    signal,
  })

describe('a stream that can be resumed', () => {
  it('has an id of 128 random bits, and dense ids on all of its events', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.say('one', 'two')
    const reading = await asked
    expect(reading.id).toMatch(/^[0-9a-f]{32}$/)
    stream.finish()
    expect(await reading.rest()).toBe(numbered(chunkOf('one') + chunkOf('two') + LAST))
    const other = begin(server)
    await (await upstream.stream(1)).say('one')
    expect((await other).id).not.toBe(reading.id)
  })

  it('can be resumed at any position, any number of times, while it runs and after its end', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.say('one', 'two', 'three')
    const { id } = await asked
    const readings = await Promise.all(
      [{}, { after: 0 }, { query: '?after=1' }, { query: '?starting_after=2' }].map((where) =>
        resume(server, id, where),
      ),
    )
    stream.finish()
    const all = numbered(['one', 'two', 'three'].map(chunkOf).join('') + LAST).split(/(?<=\n\n)/)
    for (const [i, reading] of readings.entries()) {
      expect(reading.status).toBe(200)
      expect(reading.id).toBe(id)
      expect(reading.response.headers.get('content-type')).toMatch(/^text\/event-stream/)
      expect(reading.response.headers.get('cache-control')).toBe('no-cache, no-transform')
      expect(await reading.rest()).toBe(all.slice(i).join(''))
    }
    const late = await resume(server, id, { after: 3 })
    expect(await late.rest()).toBe(all.slice(4).join(''))
    expect((await resume(server, id, { after: 4 })).status).toBe(204)
    expect((await resume(server, id, { after: 4_000 })).status).toBe(204)
  })

  it('makes one upstream call for all its readers', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.say('one')
    const { id } = await asked
    const readings = await Promise.all([1, 2, 3].map(() => resume(server, id)))
    stream.finish()
    const texts = await Promise.all(readings.map((reading) => reading.rest()))
    expect(new Set(texts).size).toBe(1)
    expect(upstream.streams).toHaveLength(1)
  })

  it('that fails ends with its error, for resumed readers as well, and sends nothing more', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.say('one')
    const reading = await (await asked).until('one')
    stream.break()
    const text = await reading.rest()
    expect(text).toMatch(
      /^id: 0\n.*\n\nid: 1\ndata: \{"error":\{"message":.*"code":"stream".*\n\n$/,
    )
    const again = await resume(server, reading.id, { after: 0 })
    expect(await again.rest()).toBe(text.slice(text.indexOf('id: 1')))
    expect((await resume(server, reading.id, { after: 1 })).status).toBe(204)
  })

  it('includes usage only for the caller that asked for it', async () => {
    await using server = openServer(upstream.url, { layers: [cache(), dedupe()] })
    const usage = '"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}'
    const withUsage = LAST.replace(
      'data: [DONE]',
      `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],${usage}}\n\ndata: [DONE]`,
    )
    const asked = begin(server, {
      body: { ...CHAT, stream_options: { include_usage: true } },
    })
    const stream = await upstream.stream()
    await stream.send(chunkOf('one') + withUsage)
    stream.end()
    const first = await asked
    expect(await first.rest()).toContain(usage)
    // The next one is a hit, and has not asked for it.
    const hit = await begin(server)
    expect(hit.response.headers.get('x-cache')).toBe('HIT')
    expect(hit.id).not.toBe(first.id)
    const text = await hit.rest()
    expect(text).not.toContain('"usage"')
    expect(text).toBe(numbered(chunkOf('one') + LAST))
    for (const [id, expected] of [
      [first.id, first.text],
      [hit.id, text],
    ] as const)
      expect(await (await resume(server, id)).rest()).toBe(expected)
    expect(upstream.streams).toHaveLength(1)
  })

  it('that joined another stream is separate, and continues when a client leaves the other', async () => {
    await using server = openServer(upstream.url, {
      layers: [dedupe()],
      streams: { graceMs: 0 },
    })
    const [one, other] = [begin(server), begin(server)]
    const stream = await upstream.stream()
    await stream.say('one')
    const [first, second] = [await one, await other]
    expect(second.id).not.toBe(first.id)
    await first.leave()
    stream.finish()
    expect(await second.rest()).toBe(numbered(chunkOf('one') + LAST))
    expect(await (await resume(server, second.id)).rest()).toBe(second.text)
    const gone = await (await resume(server, first.id)).rest()
    expect(gone).toContain('"code":"stopped"')
    expect(gone).not.toContain('[DONE]')
    expect(upstream.streams).toHaveLength(1)
  })

  it('uses the format of its own route', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server, { path: '/generate/stream', body: { prompt: 'Hello' } })
    const stream = await upstream.stream()
    await stream.say('one', 'two')
    const reading = await (await asked).until('two')
    stream.break()
    await reading.rest()
    expect(await (await resume(server, reading.id, { after: 0 })).rest()).toMatch(
      /^id: 1\ndata: \{"text":"two"\}\n\nid: 2\nevent: error\ndata: \[ERROR\] \{"code":"STREAM".*\n\n$/,
    )
  })

  it('keeps the connection open while nothing comes', async () => {
    await using server = openServer(upstream.url, { heartbeatMs: 20 })
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.say('one')
    const reading = await resume(server, (await asked).id, { after: 0 })
    expect(reading.status).toBe(200)
    await reading.until(': keep-alive\n\n')
    stream.finish()
    expect((await reading.rest()).replaceAll(': keep-alive\n\n', '')).toBe(
      numbered(chunkOf('one') + LAST).replace(/^.*?\n\n/s, ''),
    )
  })

  it('refuses an invalid position', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    await (await upstream.stream()).say('one')
    const { id } = await asked
    for (const [where, field] of [
      [{ query: '?after=x' }, 'after'],
      [{ query: '?after=-1' }, 'after'],
      [{ query: '?starting_after=1.5' }, 'starting_after'],
      [{ headers: { 'last-event-id': 'abc' } }, 'Last-Event-ID'],
    ] as const) {
      const refused = await resume(server, id, where)
      expect(refused.status).toBe(400)
      expect(JSON.parse(await refused.rest())).toMatchObject({
        error: { code: 'validation', message: expect.stringContaining(field) },
      })
    }
  })

  it('answers HEAD without events, and other methods with the allowed ones', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    await (await upstream.stream()).say('one')
    const { id } = await asked
    const url = `http://localhost/v1/streams/${id}`
    const head = await server.gateway(new Request(url, { method: 'HEAD' }))
    expect([head.status, await head.text()]).toEqual([200, ''])
    const post = await server.gateway(new Request(url, { method: 'POST' }))
    expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD, DELETE'])
    const slash = await resume(server, `${id}/`)
    expect(slash.status).toBe(200)
  })
})

describe('not resumable', () => {
  it('is any stream while the option is off', async () => {
    await using server = openServer(upstream.url, { streams: false })
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.say('one')
    const reading = await asked
    expect(reading.id).toBe('none')
    await reading.until('one')
    expect(reading.text).toBe(chunkOf('one'))
    await reading.leave()
    await expect.poll(() => stream.wasLeft).toBe(true)
    const missing = await resume(server, 'x')
    expect(missing.status).toBe(404)
    expect(await missing.rest()).not.toContain('/v1/streams')
  })

  it('is a stream that was not requested as one: it stops with its client', async () => {
    await using server = openServer(upstream.url)
    for (const [i, value] of ['', 'false', '1'].entries()) {
      const asked = begin(server, { headers: { 'x-stream-resumable': value } })
      const stream = await upstream.stream(i)
      await stream.say('one')
      const reading = await (await asked).until('one')
      expect([reading.id, reading.text]).toEqual(['none', chunkOf('one')])
      await reading.leave()
      await expect.poll(() => stream.wasLeft).toBe(true)
    }
  })

  it('is a failure before the first token', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    ;(await upstream.stream()).break()
    const { status, id } = await asked
    expect([status, id]).toEqual([502, 'none'])
  })

  it('is a whole answer, whose call still stops with its client', async () => {
    await using server = openServer(upstream.url)
    const client = new AbortController()
    const asked = server.gateway(chatOf({ ...CHAT, stream: false }, client.signal))
    const stream = await upstream.stream()
    client.abort()
    await asked
    await expect.poll(() => stream.wasLeft).toBe(true)
  })

  it('is a stream whose client leaves before getting its id', async () => {
    await using server = openServer(upstream.url)
    const client = new AbortController()
    const asked = server.gateway(chatOf(CHAT, client.signal))
    const stream = await upstream.stream()
    client.abort()
    const reading = new Reading(await asked)
    expect(reading.id).toBe('none')
    await expect.poll(() => stream.wasLeft).toBe(true)
  })

  it('is an id that is unknown here', async () => {
    await using server = openServer(upstream.url)
    for (const id of ['0'.repeat(32), '%2e%2e', '{id}', 'x'.repeat(5_000)]) {
      const missing = await resume(server, id)
      expect([missing.status, JSON.parse(await missing.rest()).error.code]).toEqual([
        404,
        'not_found',
      ])
    }
  })
})

describe('the pace of a stream', () => {
  /** So large that it does not fit into what is read ahead. */
  const page = chunkOf('x'.repeat(40_000))

  it('follows its clients, as long as there are any', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.send(page)
    const reading = await (await asked).until('xxx')
    let sent = 0
    const flood = (async () => {
      for (; sent < 1_000; sent++) await stream.send(page)
    })()
    await expect.poll(() => sent, { interval: 300 }).toBeGreaterThan(10)
    for (let before = -1; before !== sent; ) {
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    expect(sent).toBeLessThan(900)
    await reading.leave()
    await flood
  }, 60_000)

  it('follows the fastest client: one that hangs holds nobody up', async () => {
    await using server = openServer(upstream.url)
    const asked = begin(server)
    const stream = await upstream.stream()
    await stream.send(page)
    const hanging = await (await asked).until('xxx')
    const reading = await resume(server, hanging.id)
    const flood = (async () => {
      for (let sent = 0; sent < 500; sent++) await stream.send(page)
      stream.finish()
    })()
    expect(await reading.rest()).toContain('[DONE]')
    await flood
    // What it missed is no longer kept, and it does not get a whole answer.
    expect(await hanging.rest()).not.toContain('[DONE]')
    expect((await resume(server, hanging.id, { after: 5 })).status).toBe(410)
  }, 60_000)
})

it('warns of nothing', async () => {
  const said = catchWarnings()
  await using server = openServer(upstream.url)
  const asked = begin(server)
  const stream = await upstream.stream()
  await stream.say('one')
  await (await asked).leave()
  stream.finish()
  await turn()
  expect(said).toEqual([])
})
