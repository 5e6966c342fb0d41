import { ConfigError, warn } from '../core/index.js'
import { createRedisClient, type RedisClient } from './client.js'
import { ALONE, attempt, type OperationCounts, Operations } from './operations.js'

/** Hears what comes by a channel. */
export interface ChannelListener {
  heard(text: string): void
  /** The connection was lost and is back: something may have come in the meantime. */
  missed(): void
}

export interface ConnectionOptions {
  readonly url: string | undefined
  readonly client: RedisClient | undefined
  readonly timeoutMs: number
}

/** Longest time for what walks through many keys. Milliseconds. */
const LONG_MS = 10_000

/**
 * The way to Redis: made in the background and again whenever it breaks, and never waited for longer
 * than an operation may take.
 */
export class Connection {
  readonly #timeoutMs: number
  readonly #operations: Operations
  readonly #client: Promise<RedisClient>
  /** The client, once the first attempt to connect has been made. */
  #ready: RedisClient | undefined
  readonly #isOwn: boolean
  #own: RedisClient | undefined
  /** Those that are used for one thing only. */
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

  /** Resolves when the first attempt to connect has been made; never when there can be none. */
  get opened(): Promise<unknown> {
    return this.#client.catch(() => new Promise(() => {}))
  }

  /** An operation in its time; `ALONE` when it was not tried or did not come about. */
  async run<T>(operation: (client: RedisClient) => Promise<T>): Promise<T | typeof ALONE> {
    if (this.#isClosed) return ALONE
    const client = this.#ready ?? (await attempt(() => this.#client, this.#timeoutMs))
    if (client === ALONE || this.#isClosed) return this.#operations.alone()
    return this.#operations.run(() => operation(client))
  }

  /** An operation that walks through many keys, which nobody's call waits for. */
  async runLong(operation: (client: RedisClient) => Promise<unknown>): Promise<void> {
    const client = this.#ready
    if (client !== undefined && !this.#isClosed) await attempt(() => operation(client), LONG_MS)
  }

  /** An operation behind all that have been asked, however long they take; nobody's call waits. */
  async later<T>(operation: (client: RedisClient) => Promise<T>): Promise<T | typeof ALONE> {
    try {
      return this.#isClosed ? ALONE : await operation(await this.#client)
    } catch {
      return ALONE
    }
  }

  /** A connection for one thing only, such as waiting; undefined when there can be none. */
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

  /** Listens to a channel, by a connection of its own. */
  subscribe(channel: string, listener: ChannelListener): void {
    this.#client.then(
      (client) => this.#listen(client, channel, listener),
      // That there is no client has been said.
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
      await subscriber.subscribe(channel, (text) => listener.heard(text))
    } catch {
      // Until it is subscribed nothing is heard, and memory goes by its own times.
      if (!this.#isClosed) warn('redisShared: messages of other processes cannot be received.')
    }
  }

  /** Resolves when nothing is on its way, or soon. */
  get idle(): Promise<void> {
    return this.#operations.idle
  }

  get counts(): OperationCounts {
    return this.#operations.counts
  }

  close(): void {
    this.#isClosed = true
    // Not awaited: a connection that never comes must not hold up the close.
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
    // The first calls wait for the first attempt, or every start would begin with misses.
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
    // Anybody else's message may hold the address with its password.
    const isOurs = error instanceof ConfigError
    warn(isOurs ? error.message : `redisShared: Redis cannot be used: ${error.name}.`)
  }
}

function destroy(client: RedisClient | undefined): void {
  try {
    client?.destroy()
  } catch {
    // It was closed already.
  }
}
