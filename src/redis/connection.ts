import { ConfigError, warn } from '../core/index.js'
import { createRedisClient, type RedisClient } from './client.js'
import { ALONE, attempt, type OperationCounts, Operations } from './operations.js'

/** Receives the messages of a channel. */
export interface ChannelListener {
  received(text: string): void
  /** Called when the connection is back after a loss: messages may have been missed. */
  missed(): void
}

export interface ConnectionOptions {
  readonly url: string | undefined
  readonly client: RedisClient | undefined
  readonly timeoutMs: number
}

/** Time limit for operations over many keys. Milliseconds. */
const LONG_MS = 10_000

/**
 * The connection to Redis. It connects and reconnects in the background. No operation waits for it
 * longer than its time limit.
 */
export class Connection {
  readonly #timeoutMs: number
  readonly #operations: Operations
  readonly #client: Promise<RedisClient>
  /** The client, once the first attempt to connect has been made. */
  #ready: RedisClient | undefined
  readonly #isOwn: boolean
  #own: RedisClient | undefined
  /** Connections with a single purpose. */
  readonly #dedicated: RedisClient[] = []
  #isClosed = false

  constructor({ url, client, timeoutMs }: ConnectionOptions) {
    this.#timeoutMs = timeoutMs
    this.#operations = new Operations(timeoutMs)
    this.#isOwn = client === undefined
    this.#client = client === undefined ? this.#open(url as string) : Promise.resolve(client)
    this.#client.then(
      (made) => {
        this.#ready = made
      },
      (error: Error) => this.#cannotBeUsed(error),
    )
  }

  /** Resolves after the first attempt to connect; never if no client can be created. */
  get opened(): Promise<unknown> {
    return this.#client.catch(() => new Promise(() => {}))
  }

  /** Runs an operation with the time limit. Returns `ALONE` if it was not tried or failed. */
  async run<T>(operation: (client: RedisClient) => Promise<T>): Promise<T | typeof ALONE> {
    if (this.#isClosed) return ALONE
    const client = this.#ready ?? (await attempt(() => this.#client, this.#timeoutMs))
    if (client === ALONE || this.#isClosed) return this.#operations.alone()
    return this.#operations.run(() => operation(client))
  }

  /** Runs an operation over many keys, with a longer time limit. No call waits for it. */
  async runLong(operation: (client: RedisClient) => Promise<unknown>): Promise<void> {
    const client = this.#ready
    if (client !== undefined && !this.#isClosed) await attempt(() => operation(client), LONG_MS)
  }

  /** Runs an operation after all earlier ones, without a time limit. No call waits for it. */
  async later<T>(operation: (client: RedisClient) => Promise<T>): Promise<T | typeof ALONE> {
    try {
      return this.#isClosed ? ALONE : await operation(await this.#client)
    } catch {
      return ALONE
    }
  }

  /** Opens a connection for a single purpose, such as blocking reads; `undefined` if that fails. */
  async dedicated(): Promise<RedisClient | undefined> {
    try {
      const client = (await this.#client).duplicate()
      if (this.#isClosed) return undefined
      this.#dedicated.push(client)
      client.on('error', () => {})
      await client.connect()
      return client
    } catch {
      return undefined
    }
  }

  /** Subscribes to a channel, on a separate connection. */
  subscribe(channel: string, listener: ChannelListener): void {
    this.#client.then(
      (client) => this.#listen(client, channel, listener),
      // The missing client has already been reported.
      () => {},
    )
  }

  async #listen(client: RedisClient, channel: string, listener: ChannelListener): Promise<void> {
    if (this.#isClosed) return
    try {
      const subscriber = client.duplicate()
      this.#dedicated.push(subscriber)
      let times = 0
      subscriber.on('error', () => {})
      subscriber.on('ready', () => {
        if (++times > 1) listener.missed()
      })
      await subscriber.connect()
      await subscriber.subscribe(channel, (text) => listener.received(text))
    } catch {
      // Without messages, entries in memory stay until they expire.
      if (!this.#isClosed)
        warn(
          'redisShared: cannot receive messages of other processes; their changes take effect here with a delay.',
        )
    }
  }

  /** Resolves when no operation is running, or after a short time limit. */
  get idle(): Promise<void> {
    return this.#operations.idle
  }

  get counts(): OperationCounts {
    return this.#operations.counts
  }

  close(): void {
    this.#isClosed = true
    // Not awaited, because a connection that never opens would block the close.
    for (const client of this.#dedicated) destroy(client)
    if (this.#isOwn) destroy(this.#own)
  }

  async #open(url: string): Promise<RedisClient> {
    const client = await createRedisClient(url)
    this.#own = client
    client.on('error', () =>
      warn('redisShared: Redis is not reachable; each process decides alone until it is back.'),
    )
    client.on('ready', () => this.#operations.recovered())
    if (this.#isClosed) return client
    // The first calls wait for the first attempt; otherwise every start would begin with misses.
    const tried = new Promise<void>((resolve) => {
      client.on('ready', resolve)
      client.on('error', resolve)
    })
    void client.connect().catch(() => {})
    await tried
    return client
  }

  #cannotBeUsed(error: Error): void {
    if (this.#isClosed) return
    // Only this library's messages are safe: others may contain the URL with its password.
    const isOurs = error instanceof ConfigError
    warn(isOurs ? error.message : `redisShared: Redis cannot be used: ${error.name}.`)
  }
}

function destroy(client: RedisClient | undefined): void {
  try {
    client?.destroy()
  } catch {
    // Already closed.
  }
}
