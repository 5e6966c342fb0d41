import type { EntriesWatcher, SharedEntries } from '../core/index.js'
import type { RedisClient } from './client.js'
import type { Connection } from './connection.js'
import type { Messages } from './messages.js'
import { ALONE } from './operations.js'

/** Keys that are looked at, and forgotten, in one go. */
const PAGE = 500

/** The entries of one cache in Redis, a key each. */
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
    // Again: what was read while the keys went may be in memory elsewhere.
    this.#messages.send({ type: 'cleared', cache: this.#cache })
  }

  watch({ deleted, cleared, missed }: EntriesWatcher): void {
    this.#messages.listen({
      heard: (message) => {
        if (message.type === 'deleted' && message.cache === this.#cache) deleted(message.key)
        if (message.type === 'cleared' && message.cache === this.#cache) cleared()
      },
      missed,
    })
  }
}

/** Forgets all keys that begin so, on every server. */
async function forgetAll(client: RedisClient, prefix: string): Promise<void> {
  const options = { MATCH: `${escaped(prefix)}*`, COUNT: PAGE }
  for (const server of await serversOf(client)) {
    // One by one, as in a cluster keys of one command must be of one slot.
    for await (const keys of server.scanIterator?.(options) ?? [])
      await Promise.all([keys].flat().map((key) => client.unlink(key)))
  }
}

/** Of a cluster those that hold keys. */
async function serversOf(client: RedisClient): Promise<RedisClient[]> {
  const { masters } = client
  if (masters === undefined) return [client]
  return Promise.all(masters.map((node) => client.nodeClient?.(node) ?? client))
}

/** A text for a pattern of SCAN, in which nothing has a meaning of its own. */
const escaped = (text: string): string => text.replace(/[\\*?[\]]/g, '\\$&')
