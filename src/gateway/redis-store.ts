import { ConfigError, warn } from '../core/index.js'
import type { CacheStore } from '../layers/cache/index.js'

export interface RedisStore extends CacheStore {
  disconnect(): Promise<void>
}

/** What is used of a client from the optional peer `redis`. */
interface RedisClient {
  on(event: 'error', listener: () => void): unknown
  once(event: 'ready' | 'error', listener: () => void): unknown
  connect(): Promise<unknown>
  destroy(): void
}

/**
 * Loads the optional peers. Each is awaited inside the `try`: by this bundlers know that a program
 * without them is to be built all the same.
 */
async function load() {
  try {
    const { createClient } = await import('redis')
    const { default: KeyvRedis } = await import('@keyv/redis')
    return { createClient, KeyvRedis }
  } catch (cause) {
    throw new ConfigError(
      'The packages redis and @keyv/redis are needed for REDIS_URL and cannot be loaded; install them with `npm install redis @keyv/redis`.',
      { cause },
    )
  }
}

/**
 * Keyv's own Redis store behind a connection that is made in the background: until it stands, and
 * whenever it breaks, every operation fails at once and so costs a miss. Needs the optional peers
 * `redis` and `@keyv/redis`.
 */
export function redisStore(url: string): RedisStore {
  let client: RedisClient | undefined
  let closed = false
  const opening = (async (): Promise<CacheStore> => {
    const { createClient, KeyvRedis } = await load()
    const made = createClient({
      url,
      // Operations fail at once while Redis is away, instead of waiting for it.
      disableOfflineQueue: true,
      socket: {
        connectTimeout: 2_000,
        reconnectStrategy: (retries) => Math.min(100 * 2 ** retries, 5_000),
      },
    })
    client = made as unknown as RedisClient
    client.on('error', () =>
      warn('The cache in Redis is not reachable; answers are not shared until it is back.'),
    )
    if (closed) throw new Error('closed')
    // The first calls wait for the first attempt to connect (the cache's own time limit bounds it),
    // or every start would begin with misses.
    const tried = new Promise<void>((resolve) => {
      client?.once('ready', resolve)
      client?.once('error', () => resolve())
    })
    void client.connect().catch(() => {})
    await tried
    return new KeyvRedis(made as never, { throwOnConnectError: false }) as CacheStore
  })()
  opening.catch((error: Error) => {
    if (closed) return
    // Anybody else's message may hold the address with its password.
    const isOurs = error instanceof ConfigError
    warn(isOurs ? error.message : `The cache in Redis cannot be used: ${error.name}.`)
  })

  return {
    get: async (key) => (await opening).get(key),
    set: async (key, value, ttl) => (await opening).set(key, value, ttl),
    delete: async (key) => (await opening).delete(key),
    clear: async () => (await opening).clear(),
    async disconnect() {
      closed = true
      // Not awaited: a connection that never comes must not hold up the close.
      opening.catch(() => {})
      client?.destroy()
    },
  }
}
