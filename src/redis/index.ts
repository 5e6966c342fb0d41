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
  /**
   * URL of a Redis or Valkey server, such as `redis://user:password@host:6379/0`.
   * @default none: then `client` is required
   */
  url?: string | undefined
  /**
   * A connected client of the package `redis`, version 5 or later, for a server or a cluster.
   * `close()` leaves it open.
   * @default none: then `url` is required
   */
  client?: object | undefined
  /**
   * Prefix of all keys and channels. Services with the same prefix share their state.
   * @default 'blossom'
   */
  prefix?: string | undefined
  /**
   * Time limit of one operation, after which the process decides alone. Milliseconds, at least 1.
   * @default 75
   */
  timeoutMs?: number | undefined
}

/** The state that the processes of a service share in Redis. */
export interface RedisShared extends SharedState {
  /** Returns the counts of operations and decisions. */
  stats(): RedisSharedStats
  /** Closes its own connections. Layers that use the state decide alone from then on. */
  close(): Promise<void>
}

/** Stats of `redisShared()`. */
export interface RedisSharedStats {
  /** Operations that were started. */
  readonly operations: number
  /** Operations that failed or exceeded their time limit. */
  readonly failures: number
  /** Decisions that this process made alone, because Redis was unavailable or too slow. */
  readonly alone: number
  /** Gauge: processes that sent a heartbeat in the last 10 s, including this one. */
  readonly processes: number
}

/**
 * Creates state in Redis or Valkey that the processes of a service share. Pass it to layers as
 * their option `shared`.
 *
 * A Redis that is down, slow, full or empty never fails a call: it costs a cache miss, or the
 * process decides alone. Each operation has a time limit, and after three failures within 10 s
 * Redis is not used for 5 s.
 *
 * Requires the package `redis`, version 5 or later.
 *
 * @throws ConfigError (`CONFIG`) if an option is invalid
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
    throw new ConfigError('redisShared: pass exactly one of the options "url" and "client".')
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
      // Let the last operations of the layers finish.
      await connection.idle
      connection.close()
    },
  }
  return sharedState(shared)
}

/** Creates one object per name, which all layers with that name share. */
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
