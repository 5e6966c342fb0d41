import { ConfigError } from '../core/index.js'

/** What is used of a client of the peer `redis`, be it of one server or of a cluster. */
export interface RedisClient {
  get(key: string): Promise<string | null>
  set(key: string, value: string, options: { PX: number }): Promise<unknown>
  unlink(keys: string | string[]): Promise<number>
  evalSha(sha: string, options: ScriptOptions): Promise<unknown>
  eval(script: string, options: ScriptOptions): Promise<unknown>
  xRead(
    stream: { key: string; id: string },
    options: { BLOCK: number; COUNT: number },
  ): Promise<readonly StreamPart[] | null>
  publish(channel: string, message: string): Promise<number>
  subscribe(channel: string, listener: (message: string) => void): Promise<void>
  on(event: 'ready' | 'connect' | 'error' | 'end', listener: () => void): unknown
  connect(): Promise<unknown>
  duplicate(options?: object): RedisClient
  destroy(): void
  /** Of a cluster: its servers that hold keys. */
  readonly masters?: readonly unknown[]
  /** Of a cluster. */
  nodeClient?(node: unknown): RedisClient | Promise<RedisClient>
  /** Of one server. */
  scanIterator?(options: { MATCH: string; COUNT: number }): AsyncIterable<string | string[]>
}

/** What was read of one stream. */
interface StreamPart {
  readonly messages: readonly {
    readonly id: string
    readonly message: Readonly<Record<string, string>>
  }[]
}

interface ScriptOptions {
  keys: string[]
  arguments: string[]
}

/** Longest time for a connection to be made. Milliseconds. */
const CONNECT_MS = 2_000
/** Longest pause before another try to connect. Milliseconds. */
const RECONNECT_MS = 5_000

/**
 * A client of our own. Commands fail at once while there is no connection, or wait for it when they
 * are to.
 */
export async function createRedisClient(
  url: string,
  { waits }: { waits: boolean } = { waits: false },
): Promise<RedisClient> {
  const { createClient } = await load()
  return createClient({
    url,
    disableOfflineQueue: !waits,
    socket: {
      connectTimeout: CONNECT_MS,
      reconnectStrategy: (retries) => Math.min(100 * 2 ** retries, RECONNECT_MS),
    },
  }) as unknown as RedisClient
}

/** The peer. It is awaited inside the `try`: by this bundlers know that it may be missing. */
async function load() {
  try {
    return await import('redis')
  } catch (cause) {
    throw new ConfigError(
      'The package redis is needed to share state between processes and cannot be loaded; install it with `npm install redis`.',
      { cause },
    )
  }
}

/** Whether a value has the methods of a client that are used here. */
export function isRedisClient(value: unknown): boolean {
  const client = value as Partial<Record<keyof RedisClient, unknown>> | null
  return (
    typeof client === 'object' &&
    client !== null &&
    (['get', 'set', 'unlink', 'eval', 'evalSha', 'publish', 'on', 'duplicate'] as const).every(
      (method) => typeof client[method] === 'function',
    )
  )
}
