import { createClient } from 'redis'
import { afterEach, beforeEach, expect, vi } from 'vitest'
import { type RedisShared, redisShared } from '../../../src/redis/index.js'
import { RedisServer } from '../../support/redis-server.js'
import { catchWarnings } from '../../support/warnings.js'

/** While Redis is there no process should decide by itself, however busy the machine is. */
export const PATIENT_MS = 2_000
/** As by default. */
export const TIMEOUT_MS = 75

/** Asks until it is as expected, for long enough for a machine that has other things to do. */
export const eventually = <T>(
  asked: () => T,
  options: { timeout?: number; interval?: number } = {},
) => expect.poll(asked, { timeout: 15_000, ...options })

/** A Redis for each test, a client to look into it, and shared states as of several processes. */
export function sharedRedis() {
  let server: RedisServer
  let client: ReturnType<typeof createClient>
  let opened: RedisShared[]
  beforeEach(async () => {
    catchWarnings()
    opened = []
    server = await RedisServer.start()
    client = createClient({ url: server.url, socket: { reconnectStrategy: 50 } })
    client.on('error', () => {})
    await client.connect()
  })
  afterEach(async () => {
    for (const shared of opened) await shared.close()
    client.destroy()
    await server.remove()
    vi.restoreAllMocks()
  })
  return {
    get server() {
      return server
    },
    get client() {
      return client
    },
    /** How many have been opened. */
    get processes() {
      return opened.length
    },
    /** The shared state of one more process. */
    open({ timeoutMs = PATIENT_MS } = {}) {
      const shared = redisShared({ url: server.url, timeoutMs })
      opened.push(shared)
      return shared
    },
    /** So many processes, as soon as each of them hears all others. */
    async joined<Joined extends { readonly shared: RedisShared }>(
      count: number,
      join: () => Promise<Joined>,
    ): Promise<Joined[]> {
      const all: Joined[] = []
      for (let i = 0; i < count; i++) all.push(await join())
      await eventually(() => all.map(({ shared }) => shared.stats().processes), {
        timeout: 20_000,
      }).toEqual(Array(count).fill(count))
      return all
    },
    /** The shared state of one more process, when it is connected. */
    async connected() {
      const shared = this.open()
      await expect.poll(() => shared.entries('any').get('any')).toBeUndefined()
      return shared
    },
  }
}
