import { ClosedError, inTime } from '../../core/index.js'
import { createRedisClient, type RedisClient } from '../client.js'
import { runScript } from '../run-script.js'

/** Longest time for one operation. Milliseconds. */
const LONGEST_MS = 10_000

export interface ConnectionsOptions {
  readonly url: string | undefined
  readonly client: RedisClient | undefined
}

/** Connections for jobs: what a promise hangs on waits longer than what has a way around Redis. */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #opened = new Set<RedisClient>()
  #commands: Promise<RedisClient> | undefined
  #isClosed = false

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** The connection of our own scripts, on which everything fails while Redis cannot be reached. */
  async commands(): Promise<RedisClient> {
    this.#commands ??= this.open({ waits: false })
    try {
      return await this.#commands
    } catch (error) {
      // The next one tries again.
      this.#commands = undefined
      throw error
    }
  }

  /** One more connection. With `waits` its commands wait for Redis to be back. */
  async open({ waits }: { waits: boolean }): Promise<RedisClient> {
    const { url, client } = this.#options
    const made =
      client === undefined
        ? await createRedisClient(url as string, { waits })
        : client.duplicate(client.masters === undefined ? { disableOfflineQueue: !waits } : {})
    // Whoever waits for a command hears of it; nobody else need to.
    made.on('error', () => {})
    if (this.#isClosed) throw new ClosedError('The batches are closed.')
    this.#opened.add(made)
    const connected = made.connect()
    connected.catch(() => {})
    // A cluster takes nothing before it knows its servers, and does not try again by itself.
    if (made.masters !== undefined) await this.#settled(made, connected)
    else if (!waits)
      await inTime(
        () => firstAttempt(made, connected),
        LONGEST_MS,
        () => {},
      )
    return made
  }

  /** Runs one of our scripts. */
  async run<Reply>(script: string, keys: string[], args: readonly (string | number)[] = []) {
    const client = await this.commands()
    return inTime(
      () => runScript<Reply>(client, script, keys, args.map(String)),
      LONGEST_MS,
      (): never => {
        throw new Error('Redis did not answer in time.')
      },
    )
  }

  /** @throws whatever keeps a cluster from being reached */
  async #settled(cluster: RedisClient, connected: Promise<unknown>): Promise<void> {
    try {
      await connected
    } catch (error) {
      this.end(cluster)
      throw error
    }
  }

  /** Ends a connection. */
  end(client: RedisClient): void {
    this.#opened.delete(client)
    try {
      client.destroy()
    } catch {
      // It was closed already.
    }
  }

  close(): void {
    this.#isClosed = true
    for (const client of this.#opened) this.end(client)
  }
}

/** Resolves when the first attempt to connect has been made, whatever came of it. */
function firstAttempt(client: RedisClient, connected: Promise<unknown>): Promise<unknown> {
  const failed = new Promise<void>((resolve) => client.on('error', resolve))
  return Promise.race([connected.catch(() => {}), failed])
}
