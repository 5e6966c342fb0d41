import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chunkOf, LAST, PacedUpstream } from '../../support/paced-upstream.js'
import { RedisServer } from '../../support/redis-server.js'
import { completeEvents, lastIdIn, numbered, Reading } from '../../support/resuming.js'

/** The lease of a server that is gone, and five seconds. Milliseconds. */
const LOST_MS = 20_000

/** A server in a process of its own. */
class StreamServer {
  readonly #process: ChildProcess
  url = ''

  private constructor(redis: RedisServer, upstream: PacedUpstream, graceMs: number) {
    const program = join(import.meta.dirname, 'stream-server.ts')
    const args = ['--import', 'tsx', program, redis.url, upstream.url, String(graceMs)]
    this.#process = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  static async start(
    redis: RedisServer,
    upstream: PacedUpstream,
    graceMs = 30_000,
  ): Promise<StreamServer> {
    const server = new StreamServer(redis, upstream, graceMs)
    const [port] = (await once(server.#process.stdout as NodeJS.EventEmitter, 'data')) as [Buffer]
    server.url = `http://127.0.0.1:${String(port).trim()}`
    return server
  }

  async begin(): Promise<Reading> {
    return new Reading(
      await fetch(`${this.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-stream-resumable': 'true' },
        body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], stream: true }),
      }),
    )
  }

  async resume(id: string, after?: number): Promise<Reading> {
    const headers = after === undefined ? {} : { 'last-event-id': `${after}` }
    return new Reading(await fetch(`${this.url}/v1/streams/${id}`, { headers }))
  }

  async stop(id: string): Promise<number> {
    return (await fetch(`${this.url}/v1/streams/${id}`, { method: 'DELETE' })).status
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill(signal)
    await once(this.#process, 'exit')
  }
}

let redis: RedisServer
let upstream: PacedUpstream
let servers: StreamServer[]
beforeEach(async () => {
  redis = await RedisServer.start()
  upstream = await PacedUpstream.start()
  servers = []
})
afterEach(async () => {
  for (const server of servers) await server.end('SIGKILL')
  await upstream[Symbol.asyncDispose]()
  await redis.remove()
})

async function open(graceMs?: number): Promise<StreamServer> {
  const server = await StreamServer.start(redis, upstream, graceMs)
  servers.push(server)
  return server
}

async function started(server: StreamServer, index = 0) {
  const asked = server.begin()
  const stream = await upstream.stream(index)
  await stream.say('one')
  const reading = await (await asked).until('one')
  return { reading, stream, id: reading.id }
}

const WHOLE = numbered(chunkOf('one') + chunkOf('two') + LAST)
const whole = (text: string) => completeEvents(text).join('')
/** Resumes a stream, again while Redis does not answer in time, as a busy machine may have it. */
async function resume(
  server: StreamServer,
  id: string,
  after?: number,
): ReturnType<StreamServer['resume']> {
  const reading = await server.resume(id, after)
  return reading.status >= 500 ? resume(server, id, after) : reading
}

/** Resolves when a server knows what another has written. */
const knows = (server: StreamServer, id: string, text: string) =>
  resume(server, id).then((reading) => reading.until(text))

describe('a stream of several servers with one Redis', () => {
  it('is identical when resumed on another server, wherever it was cut', async () => {
    const [a, b] = [await open(), await open()]
    const { reading, stream, id } = await started(a)
    await stream.say('two')
    const running = await resume(b, id)
    await running.until('two')
    stream.finish()
    expect(await reading.rest()).toBe(WHOLE)
    expect(await running.rest()).toBe(WHOLE)
    for (let cut = 0; cut < WHOLE.length; cut += 7) {
      const read = WHOLE.slice(0, cut)
      const rest = await resume(b, id, lastIdIn(read))
      expect([cut, whole(read) + (await rest.rest())]).toEqual([cut, WHOLE])
    }
    expect((await b.resume(id, 3)).status).toBe(204)
    expect((await b.resume('f'.repeat(32))).status).toBe(404)
    expect(upstream.streams).toHaveLength(1)
  })

  it('continues on another server when its own is restarted midway', async () => {
    const [a, b] = [await open(), await open()]
    const { reading, stream, id } = await started(a)
    await knows(b, id, 'one')
    const ended = a.end('SIGTERM')
    await expect(reading.rest()).rejects.toThrow()
    const rest = await resume(b, id, 0)
    await stream.say('two')
    stream.finish()
    expect(numbered(chunkOf('one')) + (await rest.rest())).toBe(WHOLE)
    await ended
    expect(await (await resume(b, id)).rest()).toBe(WHOLE)
  })

  it('sends everything written so far, then an error, when its server is killed', async () => {
    const [a, b, c] = [await open(), await open(), await open()]
    const { reading, stream, id } = await started(a)
    await stream.say('two')
    const early = await knows(b, id, 'two')
    reading.rest().catch(() => {})
    await a.end('SIGKILL')
    const at = performance.now()
    const text = await early.rest()
    expect(performance.now() - at).toBeLessThan(LOST_MS)
    expect(text).toMatch(/^id: 0\n.*one.*\n\nid: 1\n.*two.*\n\nid: 2\n.*"code":"owner_lost".*\n\n$/)
    expect(text).not.toContain('[DONE]')
    const late = await resume(c, id, 0)
    expect(await late.rest()).toBe(text.slice(text.indexOf('id: 1')))
    for (const server of [b, c]) expect((await resume(server, id, 2)).status).toBe(204)
  })

  it('stops on every server when it is stopped on another one', async () => {
    const [a, b, c] = [await open(), await open(), await open()]
    const { reading, stream, id } = await started(a)
    await knows(b, id, 'one')
    expect(await b.stop(id)).toBe(204)
    await expect.poll(() => stream.wasLeft, { timeout: 10_000 }).toBe(true)
    expect(await reading.rest()).toMatch(/"code":"stopped"/)
    for (const server of [a, b, c])
      await expect.poll(async () => (await server.resume(id)).status, { timeout: 10_000 }).toBe(410)
    for (const server of [a, b, c]) expect(await server.stop(id)).toBe(204)
    expect(await b.stop('f'.repeat(32))).toBe(404)
  })

  it('continues while it is read on another server, and stops some time after the last reader leaves', async () => {
    const [a, b] = [await open(1_000), await open()]
    const { reading, stream, id } = await started(a)
    const there = await knows(b, id, 'one')
    await reading.leave()
    await new Promise((resolve) => setTimeout(resolve, 4_000))
    await stream.say('two')
    await there.until('two')
    await there.leave()
    await expect.poll(() => stream.wasLeft, { timeout: 30_000 }).toBe(true)
  })

  it('can be resumed on its own server only, while Redis is gone', async () => {
    const [a, b] = [await open(), await open()]
    const { reading, stream, id } = await started(a)
    const there = await knows(b, id, 'one')
    await redis.kill()
    // What was read elsewhere ends without an error, so that its client asks again.
    expect(await there.rest()).toBe(numbered(chunkOf('one')))
    await stream.say('two')
    stream.finish()
    expect(await reading.rest()).toBe(WHOLE)
    expect(await (await resume(a, id)).rest()).toBe(WHOLE)
    expect((await b.resume(id)).status).toBe(503)
    // A new stream is not held up.
    const other = await started(a, 1)
    other.stream.finish()
    expect(await other.reading.rest()).toBe(numbered(chunkOf('one') + LAST))
    expect(await (await a.resume(other.id)).rest()).toBe(other.reading.text)
  })
})
