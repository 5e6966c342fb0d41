import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { backgroundDeadlines, deadlines, isStackError } from '../../../../src/core/index.js'
import type { RequestLog } from '../../../../src/gateway/index.js'
import { queue } from '../../../../src/index.js'
import { type FakeClock, fakeClock } from '../../../../src/testing/index.js'
import { chunkOf, LAST, PacedUpstream } from '../../../support/paced-upstream.js'
import {
  begin,
  numbered,
  openServer,
  type Reading,
  resume,
  type Server,
  startedOn,
  stop,
} from '../../../support/resuming.js'

let upstream: PacedUpstream
beforeEach(async () => {
  upstream = await PacedUpstream.start()
})
afterEach(() => upstream[Symbol.asyncDispose]())

const started = (server: Server, index?: number, headers?: Record<string, string>) =>
  startedOn(upstream, server, index, headers)

/** The error that a stream ends with. */
const codeOf = (text: string): string | undefined => /"code":"(\w+)"[^\n]*\n\n$/.exec(text)?.[1]

describe('a stream that all of its clients have left', () => {
  let clock: FakeClock
  beforeEach(() => {
    clock = fakeClock()
  })
  afterEach(() => clock.restore())

  it('continues for its grace time and is then stopped; what was written stays readable', async () => {
    const slots = queue({ concurrency: 1 })
    await using server = openServer(upstream.url, { layers: [slots] })
    const { reading, stream, id } = await started(server)
    await reading.leave()
    await clock.advance(29_999)
    await stream.say('two')
    expect(slots.stats().running).toBe(1)
    await clock.advance(1)
    await expect.poll(() => stream.wasLeft).toBe(true)
    expect(slots.stats().running).toBe(0)
    const text = await (await resume(server, id)).rest()
    expect(text).toMatch(/^id: 0\n.*one.*\n\nid: 1\n.*two.*\n\nid: 2\n/)
    expect(codeOf(text)).toBe('stopped')
    expect(text).not.toContain('[DONE]')
    expect((await resume(server, id, { after: 2 })).status).toBe(204)
  })

  it('continues when a client comes back, and gets its whole grace time again', async () => {
    await using server = openServer(upstream.url, { streams: { graceMs: 1_000 } })
    const { reading, stream, id } = await started(server)
    await reading.leave()
    for (let i = 0; i < 3; i++) {
      await clock.advance(999)
      const back = await (await resume(server, id)).until('one')
      await clock.advance(5_000)
      await back.leave()
    }
    expect(stream.wasLeft).toBe(false)
    await clock.advance(1_000)
    await expect.poll(() => stream.wasLeft).toBe(true)
  })

  it('continues as long as one client remains', async () => {
    await using server = openServer(upstream.url, { streams: { graceMs: 1_000 }, heartbeatMs: 0 })
    const { reading, stream, id } = await started(server)
    const other = (await resume(server, id)).rest()
    await reading.leave()
    await clock.advance(60_000)
    stream.finish()
    expect(await other).toBe(numbered(chunkOf('one') + LAST))
  })

  it('stops at once when its grace time is zero', async () => {
    await using server = openServer(upstream.url, { streams: { graceMs: 0 } })
    const { reading, stream } = await started(server)
    await reading.leave()
    await expect.poll(() => stream.wasLeft).toBe(true)
  })

  it('ends normally if it finishes within its grace time', async () => {
    await using server = openServer(upstream.url)
    const { reading, stream, id } = await started(server)
    await reading.leave()
    stream.finish()
    const look = async () => {
      const behind = await resume(server, id, { after: 2 })
      await behind.leave()
      return behind.status
    }
    await expect.poll(look).toBe(204)
    await clock.advance(60_000)
    expect(await (await resume(server, id)).rest()).toBe(numbered(chunkOf('one') + LAST))
    expect(stream.wasLeft).toBe(false)
  })

  it('is kept for its retention time after its end, and remembered for an hour', async () => {
    await using server = openServer(upstream.url)
    const { reading, stream, id } = await started(server)
    const whole = reading.rest()
    await clock.advance(3_600_000)
    stream.finish()
    await whole
    await clock.advance(599_999)
    expect((await resume(server, id)).status).toBe(200)
    await clock.advance(1)
    const gone = await resume(server, id)
    expect([gone.status, JSON.parse(await gone.rest())]).toEqual([
      410,
      {
        error: {
          message: 'This stream is no longer stored. Send the request again.',
          type: 'invalid_request_error',
          code: 'not_found',
          param: null,
        },
      },
    ])
    expect((await resume(server, id, { after: 2 })).status).toBe(410)
    await clock.advance(2_999_999)
    expect((await resume(server, id)).status).toBe(410)
    await clock.advance(1)
    expect((await resume(server, id)).status).toBe(404)
    expect(await stop(server, id)).toBe(404)
  })
})

describe('a stream that is stopped by DELETE', () => {
  it('stops upstream, ends for all readers, and is gone', async () => {
    const log: RequestLog[] = []
    const errors: unknown[] = []
    await using server = openServer(upstream.url, {
      log: (entry) => void log.push(entry),
      onError: (error) => void errors.push(error),
    })
    const { reading, stream, id } = await started(server)
    const other = await resume(server, id)
    expect(await stop(server, id)).toBe(204)
    await expect.poll(() => stream.wasLeft).toBe(true)
    for (const text of [await reading.rest(), await other.rest()]) {
      expect(text).toMatch(/^id: 0\n.*\n\nid: 1\n/)
      expect(codeOf(text)).toBe('stopped')
      expect(text).not.toContain('[DONE]')
    }
    for (const where of [{}, { after: 0 }, { after: 9 }])
      expect((await resume(server, id, where)).status).toBe(410)
    expect(await stop(server, id)).toBe(204)
    expect(await stop(server, id)).toBe(204)
    // To stop it is to leave it.
    const readers = log.filter(({ method, status }) => method !== 'DELETE' && status < 500)
    expect(readers.filter(({ status }) => status !== 410)).toMatchObject([
      { route: '/v1/chat/completions', status: 499, level: 'warn' },
      { route: '/v1/streams/{id}', status: 499, level: 'warn' },
    ])
    expect(errors.filter((error) => !isStackError(error, 'NOT_FOUND'))).toEqual([])
  })

  it('is gone even if it had already ended', async () => {
    await using server = openServer(upstream.url)
    const { reading, stream, id } = await started(server)
    stream.finish()
    await reading.rest()
    expect(await stop(server, id)).toBe(204)
    expect((await resume(server, id)).status).toBe(410)
    expect(await stop(server, id)).toBe(204)
  })

  it('is stopped once, while nobody reads it', async () => {
    await using server = openServer(upstream.url)
    const { reading, stream, id } = await started(server)
    await reading.leave()
    expect(await Promise.all([stop(server, id), stop(server, id)])).toEqual([204, 204])
    await expect.poll(() => stream.wasLeft).toBe(true)
  })

  it('answers that there is no stream when there is none', async () => {
    await using server = openServer(upstream.url)
    expect(await stop(server, '0'.repeat(32))).toBe(404)
  })
})

describe('a stream of a tenant', () => {
  it('does not exist for anybody else', async () => {
    await using server = openServer(upstream.url, {
      call: (request) => ({ tenant: request.headers.get('x-user') ?? undefined }),
    })
    const alice = { 'x-user': 'alice' }
    const { id, stream, reading } = await started(server, 0, alice)
    for (const headers of [{ 'x-user': 'bob' }, {}]) {
      const { status } = await resume(server, id, { headers: headers as Record<string, string> })
      expect(status).toBe(404)
      expect(await stop(server, id, headers as Record<string, string>)).toBe(404)
    }
    stream.finish()
    await reading.rest()
    const again = await resume(server, id, { headers: alice })
    expect(await again.rest()).toBe(reading.text)
    expect((await resume(server, id, { headers: { 'x-user': 'bob' } })).status).toBe(404)
    expect(await stop(server, id, alice)).toBe(204)
    expect((await resume(server, id, { headers: alice })).status).toBe(410)
    expect((await resume(server, id, { headers: { 'x-user': 'bob' } })).status).toBe(404)
  })

  it('identifies its owner as all routes do', async () => {
    await using server = openServer(upstream.url, {
      call: (request) =>
        request.headers.has('x-user') ? {} : new Response('Who are you?', { status: 401 }),
    })
    const { id } = await started(server, 0, { 'x-user': 'anybody' })
    expect((await resume(server, id)).status).toBe(401)
    expect(await stop(server, id)).toBe(401)
  })
})

describe('the stored part of a stream', () => {
  it('is its last events, up to 1 MiB', async () => {
    await using server = openServer(upstream.url)
    const { reading, stream, id } = await started(server)
    for (let i = 0; i < 30; i++) await stream.send(chunkOf('x'.repeat(50_000)))
    stream.finish()
    const whole = await reading.rest()
    const events = whole.split(/(?<=\n\n)/)
    const statuses: number[] = []
    for (let after = 0; after < events.length; after++) {
      const rest = await resume(server, id, { after })
      statuses.push(rest.status)
      const expected = events.slice(after + 1).join('')
      if (rest.status === 200) {
        expect(await rest.rest()).toBe(expected)
        expect(expected.length).toBeLessThanOrEqual(1024 * 1024)
      } else if (rest.status === 410) expect(expected.length).toBeGreaterThan(1024 * 1024)
    }
    expect(new Set(statuses)).toEqual(new Set([410, 200, 204]))
    expect(statuses).toEqual([...statuses].sort((a, b) => order(a) - order(b)))
  })

  const order = (status: number) => [410, 200, 204].indexOf(status)

  it('is at most 64 MiB for all streams, and the first to end are dropped first', async () => {
    await using server = openServer(upstream.url)
    const ids: string[] = []
    const page = chunkOf('x'.repeat(60_000)).repeat(17)
    for (let i = 0; i < 70; i++) {
      const asked = begin(server)
      const stream = await upstream.stream(i)
      await stream.send(page)
      stream.finish()
      const reading = await asked
      ids.push(reading.id)
      expect((await reading.rest()).endsWith('[DONE]\n\n')).toBe(true)
    }
    const statuses: number[] = []
    for (const id of ids) {
      const { status, response } = await resume(server, id)
      statuses.push(status)
      expect(response.headers.get('x-stream-id')).toBe(status === 200 ? id : null)
    }
    const kept = statuses.filter((status) => status === 200).length
    expect(statuses).toEqual([
      ...Array.from({ length: 70 - kept }, () => 410),
      ...Array.from({ length: kept }, () => 200),
    ])
    expect(kept).toBeGreaterThanOrEqual(62)
    expect(kept).toBeLessThanOrEqual(65)
  }, 60_000)
})

describe('closing a server in the middle of streams', () => {
  const nothing = () => [deadlines.size, backgroundDeadlines.size]

  it('waits for streams that are read, and cuts those that take too long', async () => {
    const before = nothing()
    const server = openServer(upstream.url)
    const [ends, hangs] = [await started(server), await started(server, 1)]
    const closing = server.gateway.close({ timeoutMs: 300 })
    const late = await begin(server)
    expect([late.status, late.id]).toEqual([503, 'none'])
    const back = await resume(server, ends.id, { after: 0 })
    ends.stream.finish()
    expect(await ends.reading.rest()).toBe(numbered(chunkOf('one') + LAST))
    expect(await back.rest()).toContain('[DONE]')
    const cut = await hangs.reading.rest()
    expect(codeOf(cut)).toBe('closed')
    expect(cut).not.toContain('[DONE]')
    await closing
    await expect.poll(() => hangs.stream.wasLeft).toBe(true)
    await server.blossom.close()
    expect(nothing()).toEqual(before)
  })

  it('stops unread streams at once, as nobody can come back', async () => {
    const before = nothing()
    const server = openServer(upstream.url)
    const left = await started(server)
    await left.reading.leave()
    const leaving = await started(server, 1)
    const closing = server.gateway.close({ timeoutMs: 20_000 })
    await expect.poll(() => left.stream.wasLeft).toBe(true)
    expect(leaving.stream.wasLeft).toBe(false)
    await leaving.reading.leave()
    await expect.poll(() => leaving.stream.wasLeft).toBe(true)
    await closing
    await server.blossom.close()
    expect(nothing()).toEqual(before)
  })

  it('releases all listeners and timers, whatever became of the streams', async () => {
    const before = nothing()
    const server = openServer(upstream.url, { streams: { graceMs: 60_000, keepMs: 60_000 } })
    const readings: Reading[] = []
    for (let i = 0; i < 6; i++) {
      const { reading, stream, id } = await started(server, i)
      if (i % 3 === 0) await reading.leave()
      if (i % 3 === 1) stream.finish()
      readings.push(reading, await resume(server, id))
      if (i === 5) await stop(server, id)
    }
    await server.gateway.close({ timeoutMs: 0 })
    await Promise.all(readings.map((reading) => reading.rest()))
    await server.blossom.close({ timeoutMs: 0 })
    expect(nothing()).toEqual(before)
    for (const stream of upstream.streams) expect(stream.hasEnded).toBe(true)
  })
})
