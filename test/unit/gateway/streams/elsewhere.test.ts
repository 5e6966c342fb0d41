import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { backgroundDeadlines, deadlines } from '../../../../src/core/index.js'
import { chunkOf, LAST, PacedUpstream } from '../../../support/paced-upstream.js'
import {
  begin,
  numbered,
  openServer,
  type Reading,
  resume,
  type Server,
  SharedMemory,
  startedOn,
  stop,
} from '../../../support/resuming.js'

let upstream: PacedUpstream
let memory: SharedMemory
const servers: Server[] = []
/** One of several servers. */
function open(options: Parameters<typeof openServer>[1] = {}): Server {
  const server = openServer(upstream.url, { memory, ...options })
  servers.push(server)
  return server
}
beforeEach(async () => {
  upstream = await PacedUpstream.start()
  memory = new SharedMemory()
})
afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

const started = (server: Server, index?: number, headers?: Record<string, string>) =>
  startedOn(upstream, server, index, headers)

const kill = (server: Server) => {
  for (const process of server.processes) process.kill()
}
const ONE = numbered(chunkOf('one'))
const WHOLE = numbered(chunkOf('one') + chunkOf('two') + LAST)

describe('a stream that another server started', () => {
  it('can be resumed at any position, while it runs and after its end', async () => {
    const [a, b, c] = [open(), open(), open()]
    const { reading, stream, id } = await started(a)
    const [whole, rest] = [await resume(b, id), await resume(c, id, { after: 0 })]
    await stream.say('two')
    stream.finish()
    expect(await reading.rest()).toBe(WHOLE)
    expect(await whole.rest()).toBe(WHOLE)
    expect(ONE + (await rest.rest())).toBe(WHOLE)
    for (const server of [a, b, c]) {
      expect(await (await resume(server, id)).rest()).toBe(WHOLE)
      expect((await resume(server, id, { after: 3 })).status).toBe(204)
    }
    expect(upstream.streams).toHaveLength(1)
  })

  it('continues while it is read on another server, and for its grace time after that', async () => {
    const [a, b] = [open({ streams: { graceMs: 200 } }), open()]
    const { reading, stream, id } = await started(a)
    const there = await resume(b, id)
    await reading.leave()
    await there.until('one')
    await new Promise((resolve) => setTimeout(resolve, 600))
    await stream.say('two')
    await there.until('two')
    expect(stream.wasLeft).toBe(false)
    await there.leave()
    await expect.poll(() => stream.wasLeft).toBe(true)
    const rest = await (await resume(b, id, { after: 1 })).rest()
    expect(rest).toMatch(/^id: 2\ndata: \{"error":.*"code":"stopped".*\n\n$/)
  })

  it('is not held up on one server by a client that hangs on another', async () => {
    const [a, b] = [open(), open()]
    const page = chunkOf('x'.repeat(40_000))
    const { reading, stream, id } = await started(a)
    const there = await (await resume(b, id)).until('one')
    const flood = (async () => {
      for (let i = 0; i < 300; i++) await stream.send(page)
      stream.finish()
    })()
    expect(await there.rest()).toContain('[DONE]')
    await flood
    await reading.leave()
  })

  it('can be stopped from another server, is then gone everywhere, and can be stopped again', async () => {
    const [a, b, c] = [open(), open(), open()]
    const { reading, stream, id } = await started(a)
    expect(await stop(b, id)).toBe(204)
    await expect.poll(() => stream.wasLeft).toBe(true)
    expect(await reading.rest()).toMatch(/"code":"stopped".*\n\n$/)
    for (const server of [a, b, c]) expect((await resume(server, id)).status).toBe(410)
    for (const server of [c, b, a]) expect(await stop(server, id)).toBe(204)
    expect(await stop(b, '0'.repeat(32))).toBe(404)
  })

  it('is also gone on its own server when another one stops it after its end', async () => {
    const [a, b, c] = [open(), open(), open()]
    const { reading, stream, id } = await started(a)
    stream.finish()
    await reading.rest()
    expect((await resume(a, id)).status).toBe(200)
    expect(await stop(b, id)).toBe(204)
    for (const server of [a, b, c]) expect((await resume(server, id)).status).toBe(410)
  })

  it('expires on all servers alike, and is remembered for an hour', async () => {
    const [a, b] = [open({ streams: { keepMs: 200 } }), open()]
    const { reading, stream, id } = await started(a)
    stream.finish()
    await reading.rest()
    expect((await resume(b, id)).status).toBe(200)
    await expect.poll(async () => (await resume(b, id)).status).toBe(410)
    expect((await resume(a, id)).status).toBe(410)
    expect((await resume(b, 'f'.repeat(32))).status).toBe(404)
  })

  it('keeps the same events on all servers', async () => {
    const [a, b] = [open(), open()]
    const { reading, stream, id } = await started(a)
    for (let i = 0; i < 30; i++) await stream.send(chunkOf('x'.repeat(50_000)))
    stream.finish()
    const events = (await reading.rest()).split(/(?<=\n\n)/)
    expect((await resume(b, id)).status).toBe(410)
    expect((await resume(b, id, { after: 5 })).status).toBe(410)
    expect(await (await resume(b, id, { after: 20 })).rest()).toBe(events.slice(21).join(''))
  })

  it('does not exist on another server for another tenant', async () => {
    const call = (request: Request) => ({ tenant: request.headers.get('x-user') ?? undefined })
    const [a, b] = [open({ call }), open({ call })]
    const [alice, bob] = [{ 'x-user': 'alice' }, { 'x-user': 'bob' }]
    const { id } = await started(a, 0, alice)
    expect((await resume(b, id, { headers: bob })).status).toBe(404)
    expect(await stop(b, id, bob)).toBe(404)
    expect((await resume(b, id)).status).toBe(404)
    expect((await resume(b, id, { headers: alice })).status).toBe(200)
  })
})

describe('a stream whose server was killed', () => {
  it('is sent as far as it was written, followed only by an error', async () => {
    const [a, b, c] = [open(), open(), open()]
    const { id, stream } = await started(a)
    await stream.say('two')
    const early = await (await resume(b, id)).until('two')
    kill(a)
    const text = await early.rest()
    expect(text).toMatch(
      /^id: 0\n.*one.*\n\nid: 1\n.*two.*\n\nid: 2\ndata: \{"error":\{"message":.*,"code":"owner_lost",.*\n\n$/,
    )
    expect(text).not.toContain('[DONE]')
    for (const server of [b, c]) {
      expect(await (await resume(server, id)).rest()).toBe(text)
      expect(await (await resume(server, id, { after: 1 })).rest()).toBe(
        text.slice(text.indexOf('id: 2')),
      )
      expect((await resume(server, id, { after: 2 })).status).toBe(204)
    }
  })

  it('reports the error in the form of its route', async () => {
    const [a, b] = [open(), open()]
    const asked = begin(a, { path: '/generate/stream', body: { prompt: 'Hello' } })
    await (await upstream.stream()).say('one')
    const { id } = await asked
    kill(a)
    expect(await (await resume(b, id, { after: 0 })).rest()).toMatch(
      /^id: 1\nevent: error\ndata: \[ERROR\] \{"code":"OWNER_LOST".*\n\n$/,
    )
  })

  it('gives a client that is ahead of the log an unused event id', async () => {
    const [a, b, c] = [open(), open(), open()]
    const { id } = await started(a)
    kill(a)
    expect(await (await resume(b, id, { after: 7 })).rest()).toMatch(/^id: 8\n.*owner_lost/)
    expect((await resume(c, id, { after: 8 })).status).toBe(204)
    // Everybody is told the same.
    expect(await (await resume(c, id, { after: 0 })).rest()).toMatch(/^id: 8\n.*owner_lost/)
  })

  it('can still be stopped, and is then gone', async () => {
    const [a, b, c] = [open(), open(), open()]
    const { id } = await started(a)
    kill(a)
    expect(await stop(b, id)).toBe(204)
    for (const server of [b, c]) expect((await resume(server, id)).status).toBe(410)
  })
})

describe('a server that cannot reach the others', () => {
  const cut = (server: Server) => {
    for (const process of server.processes) process.cut()
  }
  const mend = (server: Server) => {
    for (const process of server.processes) process.mend()
  }

  it('serves its own streams, and asks clients of other streams to retry later', async () => {
    const [a, b] = [open(), open()]
    for (const server of [a, b]) cut(server)
    const { reading, stream, id } = await started(a)
    await stream.say('two')
    const here = await resume(a, id, { after: 0 })
    const there = await resume(b, id)
    expect(there.status).toBe(503)
    expect(there.response.headers.get('retry-after')).toBe('1')
    expect(await stop(b, id)).toBe(503)
    stream.finish()
    expect(await reading.rest()).toBe(WHOLE)
    expect(ONE + (await here.rest())).toBe(WHOLE)
    const running = await started(a, 1)
    for (const one of [id, running.id]) {
      expect(await stop(a, one)).toBe(204)
      expect((await resume(a, one)).status).toBe(410)
    }
  })

  it('continues a stream when it loses the others in the middle', async () => {
    const [a, b] = [open(), open()]
    const { reading, stream, id } = await started(a)
    cut(a)
    await stream.say('two')
    stream.finish()
    expect(await reading.rest()).toBe(WHOLE)
    expect(await (await resume(a, id)).rest()).toBe(WHOLE)
    // The other one knows only what was written, and that no more will come.
    expect(await (await resume(b, id)).rest()).toMatch(/^id: 0\n.*\n\nid: 1\n.*owner_lost/)
  })

  it('cuts short the streams it reads from others, so that clients can reconnect', async () => {
    const [a, b] = [open(), open()]
    const { stream, id } = await started(a)
    const there = await (await resume(b, id)).until('one')
    cut(b)
    expect(await there.rest()).toBe(ONE)
    mend(b)
    const again = await resume(b, id, { after: 0 })
    await stream.say('two')
    stream.finish()
    expect(ONE + (await again.rest())).toBe(WHOLE)
  })
})

describe('closing one of several servers', () => {
  const nothing = () => [deadlines.size, backgroundDeadlines.size]

  it('lets a stream finish that another server reads, even if its own client has left', async () => {
    const [a, b] = [open(), open()]
    const { reading, stream, id } = await started(a)
    await reading.leave()
    const closing = a.gateway.close({ timeoutMs: 20_000 })
    const there = await (await resume(b, id)).until('one')
    await stream.say('two')
    stream.finish()
    expect(await there.rest()).toBe(WHOLE)
    await closing
    expect(await (await resume(b, id)).rest()).toBe(WHOLE)
  })

  it('cuts short the streams it only reads, while they continue on their own server', async () => {
    const before = nothing()
    const [a, b, c] = [open(), open(), open()]
    const { reading, stream, id } = await started(a)
    const there = await (await resume(b, id)).until('one')
    await b.gateway.close({ timeoutMs: 0 })
    expect(await there.rest()).toBe(ONE)
    await stream.say('two')
    stream.finish()
    expect(await reading.rest()).toBe(WHOLE)
    expect(await (await resume(c, id)).rest()).toBe(WHOLE)
    for (const server of [a, c]) await server.gateway.close({ timeoutMs: 0 })
    for (const server of [a, b, c]) await server.blossom.close()
    memory.close()
    expect(nothing()).toEqual(before)
  })

  it('tells readers on other servers that the stream was cut', async () => {
    const [a, b] = [open(), open()]
    const { id } = await started(a)
    const there: Reading = await (await resume(b, id)).until('one')
    await a.gateway.close({ timeoutMs: 0 })
    expect(await there.rest()).toMatch(/^id: 0\n.*\n\nid: 1\n.*"code":"closed".*\n\n$/)
  })
})
