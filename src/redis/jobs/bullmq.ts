import type { ConnectionOptions } from 'bullmq'
import { ConfigError } from '../../core/index.js'
import type { RedisClient } from '../client.js'

/** The job that lines up the lines of a batch. */
export const PREPARE = 'prepare'

/** BullMQ's settings for all of our jobs: `retry()` owns the retries, and results are kept by us. */
export const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true } as const

/** What is used of the peer. */
type BullMQ = Pick<typeof import('bullmq'), 'Queue' | 'Worker' | 'DelayedError' | 'WaitingError'>

/** The peer. It is awaited inside the `try`: by this bundlers know that it may be missing. */
export async function loadBullMQ(): Promise<BullMQ> {
  try {
    return await import('bullmq')
  } catch (cause) {
    throw new ConfigError(
      'The package bullmq is needed for batches in Redis and cannot be loaded; install it with `npm install bullmq`.',
      { cause },
    )
  }
}

/**
 * A client in the form that BullMQ takes: one of a server as it is. It knows no clusters of the
 * package `redis`, but all keys of a queue are in one slot, so that it is enough to show it what it
 * asks for: whether there is a connection, and when there is one.
 */
export function connectionOf(client: RedisClient): ConnectionOptions {
  return (client.masters === undefined ? client : asOneServer(client)) as ConnectionOptions
}

function asOneServer(cluster: RedisClient): RedisClient {
  let isReady = (cluster as { isOpen?: boolean }).isOpen === true
  cluster.on('connect', () => {
    isReady = true
  })
  const own: Record<string, unknown> = {
    duplicate: () => asOneServer(cluster.duplicate()),
    disconnect: () => cluster.destroy(),
    on: (event: string, listener: () => void) =>
      cluster.on((event === 'ready' ? 'connect' : event) as 'connect', listener),
  }
  return new Proxy(cluster, {
    has: (target, name) => name === 'isReady' || name in target,
    get(target, name) {
      if (name === 'isReady') return isReady
      if (typeof name === 'string' && Object.hasOwn(own, name)) return own[name]
      const value = Reflect.get(target, name) as unknown
      // Its fields are private, and not the proxy's.
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
