import { ClosedError, inTime } from '../../core/index.js'
import { createRedisClient, type RedisClient } from '../client.js'
import { runScript } from '../run-script.js'

/** Time limit of one operation. Milliseconds. */
const LONGEST_MS = 10_000

export interface ConnectionsOptions {
  readonly url: string | undefined
  readonly client: RedisClient | undefined
}

/**
 * Connections for batches. Their time limits are longer, as batches cannot continue without Redis.
 */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #opened = new Set<RedisClient>()
  #commands: Promise<RedisClient> | undefined
  #isClosed = false

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** The connection for scripts. Its commands fail immediately while Redis is unreachable. */
  async commands(): Promise<RedisClient> {
    this.#commands ??= this.open({ waits: false })
    try {
      return await this.#commands
    } catch (error) {
      // The next command connects again.
      this.#commands = undefined
      throw error
    }
  }

  /** Opens another connection. With `waits` its commands wait until Redis is back. */
  async open({ waits }: { waits: boolean }): Promise<RedisClient> {
    const { url, client } = this.#options
    const made =
      client === undefined
        ? await createRedisClient(url as string, { waits })
        : client.duplicate(client.masters === undefined ? { disableOfflineQueue: !waits } : {})
    // Errors reject the commands; the event needs no further handling.
    made.on('error', () => {})
    if (this.#isClosed) throw new ClosedError('The batches are closed.')
    this.#opened.add(made)
    const connected = made.connect()
    connected.catch(() => {})
    // A cluster accepts no commands before it knows its servers, and does not reconnect by itself.
    if (made.masters !== undefined) await this.#settled(made, connected)
    else if (!waits)
      await inTime(
        () => firstAttempt(made, connected),
        LONGEST_MS,
        () => {},
      )
    return made
  }

  /** Runs a script. */
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

  /** Waits until a cluster is connected. @throws the error if it cannot be reached */
  async #settled(cluster: RedisClient, connected: Promise<unknown>): Promise<void> {
    try {
      await connected
    } catch (error) {
      this.end(cluster)
      throw error
    }
  }

  /** Closes a connection. */
  end(client: RedisClient): void {
    this.#opened.delete(client)
    try {
      client.destroy()
    } catch {
      // Already closed.
    }
  }

  close(): void {
    this.#isClosed = true
    for (const client of this.#opened) this.end(client)
  }
}

/** Resolves after the first attempt to connect, successful or not. */
function firstAttempt(client: RedisClient, connected: Promise<unknown>): Promise<unknown> {
  const failed = new Promise<void>((resolve) => client.on('error', resolve))
  return Promise.race([connected.catch(() => {}), failed])
}
