import { randomUUID } from 'node:crypto'
import { ConfigError, check, rules, type SharedState, sharedState } from '../core/index.js'
import { RedisCircuits } from './circuits.js'
import { isRedisClient, type RedisClient } from './client.js'
import { Connection } from './connection.js'
import { RedisEntries } from './entries.js'
import { RedisJobs } from './jobs/index.js'
import { RedisLimits } from './limits.js'
import { Inbox } from './logs/inbox.js'
import { RedisLogs } from './logs/index.js'
import { Messages } from './messages.js'
import { RedisSlots } from './slots.js'

/** Options of `redisShared()`: either `url` or `client`. */
export interface RedisSharedOptions {
  /** Address of a Redis or Valkey server: `redis://user:password@host:6379/0`. */
  url?: string | undefined
  /**
   * A connected client of the package `redis` (5 or later), of a server or a cluster. It stays
   * open when the shared state is closed.
   */
  client?: object | undefined
  /**
   * Beginning of all keys and channels. Services with the same one share their state.
   * @default 'blossom'
   */
  prefix?: string | undefined
  /**
   * Longest wait for one operation; then the process decides alone. Milliseconds.
   * @default 75
   */
  timeoutMs?: number | undefined
}

/** What the processes of a service have together in Redis. */
export interface RedisShared extends SharedState {
  /** What has been asked of Redis, and what came of it. */
  stats(): RedisSharedStats
  /** Ends the connections that are its own. Layers that have it decide alone from then on. */
  close(): Promise<void>
}

/** What `redisShared()` has counted. */
export interface RedisSharedStats {
  /** Operations that were begun. */
  readonly operations: number
  /** Of them, those that failed or took too long. */
  readonly failures: number
  /** Decisions of this process alone, as Redis could not be asked or did not answer in time. */
  readonly alone: number
  /** Gauge: processes that have been heard in the last 10 s, this one among them. */
  readonly processes: number
}

/**
 * State that the processes of a service have together, in Redis or Valkey: give it to layers as
 * their option `shared`. A Redis that is down, slow, frozen, full or wiped costs a miss or a
 * decision of the process alone, never a call: each operation has its own time limit, and after
 * three failures within 10 s Redis is not asked for 5 s.
 *
 * Needs the package `redis`, 5 or later.
 *
 * @throws ConfigError for a wrong option
 * @example
 * const shared = redisShared({ url: process.env.REDIS_URL })
 * const blossom = createBlossom().use(cache({ shared }), retry())
 */
export function redisShared(options: RedisSharedOptions): RedisShared {
  const checked = check('redisShared', options, {
    url: {
      ...rules.custom<string, undefined>('a redis:// or rediss:// address', undefined, isAddress),
      secret: true,
    },
    client: rules.custom<object, undefined>('a client of redis', undefined, isRedisClient),
    prefix: rules.text('blossom'),
    timeoutMs: rules.duration(75),
  })
  const { url, client, prefix, timeoutMs } = checked
  if ((url === undefined) === (client === undefined))
    throw new ConfigError('redisShared: give either url or client.')
  const connection = new Connection({ url, client: client as RedisClient | undefined, timeoutMs })
  const id = randomUUID()
  const messages = new Messages(connection, `${prefix}:messages`, id)
  const inbox = new Inbox(connection, prefix, id)
  const limits = byName((name) => new RedisLimits(connection, messages, prefix, name))
  const circuits = byName((name) => new RedisCircuits(connection, messages, prefix, name))
  const logs = byName((name) => new RedisLogs(connection, inbox, prefix, name))
  const jobs = new Set<RedisJobs>()
  const shared: RedisShared = {
    entries: (name: string) => new RedisEntries(connection, messages, prefix, name),
    limits: limits.of,
    logs: logs.of,
    circuits: circuits.of,
    slots: (name: string) => new RedisSlots(connection, messages, prefix, name),
    jobs(name, runner) {
      const own = { url, client: client as RedisClient | undefined }
      const made = new RedisJobs(own, prefix, name, runner)
      jobs.add(made)
      return made
    },
    stats: () => ({ ...connection.counts, processes: messages.processes }),
    async close() {
      messages.close()
      inbox.close()
      await Promise.all(logs.all().map((one) => one.close()))
      await Promise.all(limits.all().map((one) => one.flush()))
      await Promise.all([...jobs].map((one) => one.end()))
      // What layers have given back last is on its way.
      await connection.idle
      connection.close()
    },
  }
  return sharedState(shared)
}

/** One of each name, however many layers have it. */
function byName<T>(make: (name: string) => T) {
  const known = new Map<string, T>()
  return {
    of(name: string): T {
      const one = known.get(name) ?? make(name)
      known.set(name, one)
      return one
    },
    all: (): readonly T[] => [...known.values()],
  }
}

function isAddress(value: unknown): boolean {
  return typeof value === 'string' && /^rediss?:\/\//.test(value) && URL.canParse(value)
}
