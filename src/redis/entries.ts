import type { EntriesWatcher, SharedEntries } from '../core/index.js'
import type { RedisClient } from './client.js'
import type { Connection } from './connection.js'
import type { Messages } from './messages.js'
import { ALONE } from './operations.js'

/** Number of keys per scan. */
const PAGE = 500

/** The entries of one cache in Redis, one key each. */
export class RedisEntries implements SharedEntries {
  readonly #connection: Connection
  readonly #messages: Messages
  readonly #cache: string
  readonly #prefix: string

  constructor(connection: Connection, messages: Messages, prefix: string, cache: string) {
    this.#connection = connection
    this.#messages = messages
    this.#cache = cache
    this.#prefix = `${prefix}:cache:${cache}:`
  }

  async get(key: string): Promise<string | undefined | null> {
    const found = await this.#connection.run((client) => client.get(this.#prefix + key))
    return found === ALONE ? null : (found ?? undefined)
  }

  set(key: string, text: string, ttlMs: number): void {
    void this.#connection.run((client) => client.set(this.#prefix + key, text, { PX: ttlMs }))
  }

  async delete(key: string): Promise<boolean> {
    const count = await this.#connection.run((client) => client.unlink(this.#prefix + key))
    this.#messages.send({ type: 'deleted', cache: this.#cache, key })
    return count !== ALONE && count > 0
  }

  async clear(): Promise<void> {
    this.#messages.send({ type: 'cleared', cache: this.#cache })
    await this.#connection.runLong((client) => forgetAll(client, this.#prefix))
    // Send it again: other processes may have read entries into memory during the deletion.
    this.#messages.send({ type: 'cleared', cache: this.#cache })
  }

  watch({ deleted, cleared, missed }: EntriesWatcher): void {
    this.#messages.listen({
      received: (message) => {
        if (message.type === 'deleted' && message.cache === this.#cache) deleted(message.key)
        if (message.type === 'cleared' && message.cache === this.#cache) cleared()
      },
      missed,
    })
  }
}

/** Deletes all keys with this prefix, on every server. */
async function forgetAll(client: RedisClient, prefix: string): Promise<void> {
  const options = { MATCH: `${escaped(prefix)}*`, COUNT: PAGE }
  for (const server of await serversOf(client)) {
    // One by one, because in a cluster all keys of a command must be in one slot.
    for await (const keys of server.scanIterator?.(options) ?? [])
      await Promise.all([keys].flat().map((key) => client.unlink(key)))
  }
}

/** The servers that store keys. */
async function serversOf(client: RedisClient): Promise<RedisClient[]> {
  const { masters } = client
  if (masters === undefined) return [client]
  return Promise.all(masters.map((node) => client.nodeClient?.(node) ?? client))
}

/** Escapes a text for a pattern of SCAN. */
const escaped = (text: string): string => text.replace(/[\\*?[\]]/g, '\\$&')
