import { randomUUID } from 'node:crypto'
import {
  digest,
  inTime,
  type LogClaim,
  type LogOptions,
  type LogReader,
  type SharedLogs,
} from '../../core/index.js'
import type { Connection } from '../connection.js'
import { ALONE } from '../operations.js'
import type { Inbox } from './inbox.js'
import { LogPlace } from './place.js'
import { PAGE, RedisLogReader } from './reader.js'
import { ABANDON, CLAIM, FIND, READ } from './scripts.js'
import { LEASE_MS, RedisLogWriter } from './writer.js'

/** Time limit for the last writes of a close. Milliseconds. */
const CLOSE_MS = 2_000

/** The logs of one name in Redis. */
export class RedisLogs implements SharedLogs {
  readonly #connection: Connection
  readonly #inbox: Inbox
  readonly #prefix: string
  readonly #name: string
  readonly #writers = new Set<RedisLogWriter>()

  constructor(connection: Connection, inbox: Inbox, prefix: string, name: string) {
    this.#connection = connection
    this.#inbox = inbox
    this.#prefix = prefix
    this.#name = name
  }

  async claim(key: string, options: LogOptions): Promise<LogClaim | null> {
    const log = this.#place(key)
    const token = randomUUID()
    const keepMs = LEASE_MS + options.keepMs
    const reply = await log.run(CLAIM, token, this.#inbox.id, LEASE_MS, keepMs, PAGE)
    if (reply === ALONE) {
      // The claim may still succeed later, and then no process would write the log.
      void log.undo(ABANDON, token, 0)
      return null
    }
    if (reply[0] === 'full') return 'full'
    if (reply[0] === 'writer') return { writer: this.#writer(log, token, options) }
    return { reader: new RedisLogReader(log, 0, reply) }
  }

  async follow(key: string, from: number): Promise<LogReader | undefined | null> {
    const log = this.#place(key)
    const reply = await log.run(READ, '', from, this.#inbox.id, PAGE)
    if (reply === ALONE) return null
    return reply[0] === 'none' ? undefined : new RedisLogReader(log, from, reply)
  }

  async stop(key: string): Promise<boolean | null> {
    const log = this.#place(key)
    const reply = await log.run(FIND)
    if (reply === ALONE) return null
    const [writer] = reply
    if (writer !== undefined && writer !== '') this.#inbox.post(String(writer), log.key, 'stop')
    return writer !== undefined
  }

  /** Writes the rest of ended logs, and releases the leases of the others. */
  async close(): Promise<void> {
    const writers = [...this.#writers]
    for (const writer of writers) writer.abandon()
    await inTime(
      () => Promise.all(writers.map(({ settled }) => settled)),
      CLOSE_MS,
      () => [],
    )
  }

  #writer(log: LogPlace, token: string, options: LogOptions): RedisLogWriter {
    const writer = new RedisLogWriter(log, token, options)
    this.#writers.add(writer)
    void writer.settled.then(() => this.#writers.delete(writer))
    return writer
  }

  /** The place of a log. Its key is a digest, so that Redis does not store what was requested. */
  #place(key: string): LogPlace {
    const tag = `{${digest(this.#name, key)}}`
    return new LogPlace(this.#connection, this.#inbox, `${this.#prefix}:log:${tag}`)
  }
}
