import type { ConnectionOptions } from 'bullmq'
import { ConfigError, isThenable, sleep } from '../../core/index.js'
import type { RedisClient } from '../client.js'

/** Name of the job that enqueues the lines of a batch. */
export const PREPARE = 'prepare'

/** Job options. `retry()` does the retries, and this library stores the results itself. */
export const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true } as const

/** The used exports of the peer. */
export type BullMQ = Pick<
  typeof import('bullmq'),
  'Queue' | 'Worker' | 'DelayedError' | 'WaitingError'
>

/** Loads the optional peer. The `await` inside `try` shows bundlers that it may be missing. */
export async function loadBullMQ(): Promise<BullMQ> {
  try {
    return await import('bullmq')
  } catch (cause) {
    throw new ConfigError(
      'The package bullmq is needed for batches in Redis and cannot be loaded. Install it with `npm install bullmq`.',
      { cause },
    )
  }
}

/**
 * Adapts a client for BullMQ. BullMQ retries a failed command immediately, so commands that fail
 * immediately would make it loop and block the process. Failures are therefore delayed a little.
 *
 * BullMQ does not support clusters of the package `redis`. All keys of a queue are in one slot, and
 * the client finds its server, so BullMQ only needs to see whether there is a connection.
 */
export function connectionOf(client: RedisClient): ConnectionOptions {
  return paced(client) as unknown as ConnectionOptions
}

/** Delay of failures. Milliseconds. */
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
      // Call it on the target: private fields are not accessible through the proxy.
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
