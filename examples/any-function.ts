/**
 * Layers around a function that does not use Blossom: queries to a database.
 * Run it with `node --import tsx examples/any-function.ts`.
 *
 * The fake driver at the end of this file takes the place of yours, and fails like a real one. With
 * `pg` the base would be
 * `({ sql, values }, { signal }) => pool.query({ text: sql, values, signal })`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  base,
  breaker,
  type Context,
  cache,
  dedupe,
  isStackError,
  queue,
  retry,
  stack,
  timeout,
} from 'blossom-stack'

interface Query {
  readonly sql: string
  readonly values?: readonly (number | string)[]
}

/** Whether a retry may help: after errors of the server or the network, but not of the SQL. */
const isPassing = (error: unknown): boolean =>
  ['ECONNRESET', 'ECONNREFUSED', '40001'].includes((error as { code?: string }).code ?? '')

async function main(): Promise<void> {
  const database = new FakeDatabase({ connections: 4 })
  const run = (query: Query, { signal }: Context) => database.query(query, signal)

  // Both stacks share these layers: the breaker counts reads and writes, and together they use at
  // most four connections.
  const health = breaker({
    counts: (error) => isPassing(error) || isStackError(error, 'TIMEOUT'),
    minimumCalls: 5,
    windowMs: 10_000,
  })
  const slots = queue({ concurrency: 4, maxWaiting: 200, maxWaitMs: 5_000 })

  const read = stack(
    base(run, { key: ({ sql, values = [] }) => JSON.stringify([sql, values]) }),
    cache({ ttlMs: 60_000 }),
    dedupe(),
    timeout({ ms: 5_000 }),
    retry({ retries: 3, minDelayMs: 20, when: isPassing }),
    health,
    slots,
  )
  // Writes must run exactly once, so they are not retried, cached or shared.
  const write = stack(run, timeout({ ms: 5_000 }), health, slots)

  // 200 concurrent calls, ten different queries, and a server that accepts four connections.
  await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      read({ sql: 'select name from flowers where id = $1', values: [i % 10] }),
    ),
  )
  console.log(`200 callers: ${database.queries} queries, at most ${database.most} at once`)

  database.failNext('ECONNRESET', 'a connection was reset')
  database.failNext('40001', 'could not serialize access')
  const [row] = await read({ sql: 'select name from flowers where id = $1', values: [11] })
  console.log(`two failures that pass: ${row?.name}, after ${read.stats().retry.retries} retries`)

  const before = database.queries
  await read({ sql: 'selec name from flowers' }).catch((error) =>
    console.log(`a mistake: ${error.code} ${error.message}`),
  )
  console.log(
    `it was asked ${database.queries - before} time; the breaker is ${health.stats().state}`,
  )

  const reason = await read({ sql: 'select pg_sleep(60)' }, { timeoutMs: 100 }).catch(
    (error) => error,
  )
  await sleep(1)
  console.log(
    `a slow query: ${reason.code} after ${reason.ms} ms; still running in the database: ${database.running}`,
  )

  const order = { sql: 'insert into orders values ($1)', values: ['tulip'] }
  await write(order)
  database.isDown = true
  await Promise.allSettled(Array.from({ length: 20 }, () => write(order)))
  const refused = await write(order).catch((error) => error)
  console.log(
    `the server is down: ${refused.code}, try again in ${Math.ceil(refused.retryAfter / 1_000)} s`,
  )
  const [known] = await read({ sql: 'select name from flowers where id = $1', values: [3] })
  console.log(`what the cache holds is served all the same: ${known?.name}`)

  await Promise.all([read.close(), write.close()])
  const { cache: kept, dedupe: shared } = read.stats()
  console.log(
    `reads: ${kept.hits} from the cache, ${shared.joined} shared, ${slots.stats().completed} queries that went well`,
  )
}

/**
 * A fake driver and its server, with a limit on connections, errors with a `code`, and queries that
 * can be cancelled.
 */
class FakeDatabase {
  isDown = false
  queries = 0
  running = 0
  most = 0
  readonly #connections: number
  readonly #failures: Error[] = []

  constructor({ connections }: { connections: number }) {
    this.#connections = connections
  }

  failNext(code: string, message: string): void {
    this.#failures.push(Object.assign(new Error(message), { code }))
  }

  async query({ sql, values = [] }: Query, signal: AbortSignal): Promise<{ name: string }[]> {
    this.queries++
    this.running++
    this.most = Math.max(this.most, this.running)
    try {
      if (this.running > this.#connections)
        throw Object.assign(new Error('sorry, too many clients already'), { code: '53300' })
      await sleep(sql.includes('pg_sleep') ? 60_000 : 5, undefined, { signal })
      if (this.isDown)
        throw Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:5432'), {
          code: 'ECONNREFUSED',
        })
      const failure = this.#failures.shift()
      if (failure) throw failure
      if (!/^(select|insert) /.test(sql))
        throw Object.assign(new Error('syntax error at or near "selec"'), { code: '42601' })
      return [{ name: `flower ${values.join()}` }]
    } finally {
      this.running--
    }
  }
}

await main()
