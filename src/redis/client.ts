import { ConfigError } from '../core/index.js'

/** The used methods of a client of the package `redis`, for one server or a cluster. */
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
  /** For a cluster: its servers that store keys. */
  readonly masters?: readonly unknown[]
  /** For a cluster: the client of one of its servers. */
  nodeClient?(node: unknown): RedisClient | Promise<RedisClient>
  /** For one server: iterates over its keys. */
  scanIterator?(options: { MATCH: string; COUNT: number }): AsyncIterable<string | string[]>
}

/** The messages read from one stream. */
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

/** Time limit for connecting. Milliseconds. */
const CONNECT_MS = 2_000
/** Maximum delay between attempts to connect. Milliseconds. */
const RECONNECT_MS = 5_000

/**
 * Creates a client. Without a connection, its commands fail immediately, or wait for it if `waits`.
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

/** Loads the optional peer. The `await` inside `try` shows bundlers that it may be missing. */
async function load() {
  try {
    return await import('redis')
  } catch (cause) {
    throw new ConfigError(
      'Sharing state between processes requires the package redis, which cannot be loaded. Install it with `npm install redis`.',
      { cause },
    )
  }
}

/** Whether a value has the client methods that are used here. */
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
