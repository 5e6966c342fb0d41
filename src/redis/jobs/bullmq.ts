import type { ConnectionOptions } from 'bullmq'
import { ConfigError, isThenable, sleep } from '../../core/index.js'
import type { RedisClient } from '../client.js'

/** The job that lines up the lines of a batch. */
export const PREPARE = 'prepare'

/** BullMQ's settings for all of our jobs: `retry()` owns the retries, and results are kept by us. */
export const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true } as const

/** What is used of the peer. */
export type BullMQ = Pick<
  typeof import('bullmq'),
  'Queue' | 'Worker' | 'DelayedError' | 'WaitingError'
>

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
 * A client in the form that BullMQ takes. BullMQ asks again at once when a command has failed, so
 * that a client that refuses commands at once would keep the process from doing anything else: what
 * fails fails a little later.
 *
 * BullMQ knows no clusters of the package `redis`. But all keys of a queue are in one slot, and the
 * client finds the server, so it is enough to show when there is a connection.
 */
export function connectionOf(client: RedisClient): ConnectionOptions {
  return paced(client) as unknown as ConnectionOptions
}

/** How much later. Milliseconds. */
const LATER_MS = 50

function paced(client: RedisClient): RedisClient {
  const isCluster = client.masters !== undefined
  let isReady = (client as { isOpen?: boolean }).isOpen === true
  if (isCluster)
    client.on('connect', () => {
      isReady = true
    })
  const own: Record<string, unknown> = {
    duplicate: () => paced(client.duplicate()),
    ...(isCluster && {
      disconnect: () => client.destroy(),
      on: (event: string, listener: () => void) =>
        client.on((event === 'ready' ? 'connect' : event) as 'connect', listener),
    }),
  }
  return new Proxy(client, {
    has: (target, name) => name === 'isReady' || name in target,
    get(target, name) {
      if (isCluster && name === 'isReady') return isReady
      if (typeof name === 'string' && Object.hasOwn(own, name)) return own[name]
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      // Its fields are private, and not the proxy's.
      return (...args: unknown[]) => failingLater(value.apply(target, args))
    },
  })
}

function failingLater(result: unknown): unknown {
  if (!isThenable(result)) return result
  return Promise.resolve(result).catch(async (error: unknown) => {
    await sleep(LATER_MS)
    throw error
  })
}
