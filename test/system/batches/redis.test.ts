import { createClient } from 'redis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Batches, createBatches } from '../../../src/batches/index.js'
import { type RedisShared, redisShared } from '../../../src/redis/index.js'
import { filesContract } from '../../support/batch-files-contract.js'
import {
  all,
  batchesContract,
  clientOf,
  echo,
  type MakeBatches,
  numbered,
} from '../../support/batches-contract.js'
import { RedisServer } from '../../support/redis-server.js'
import { failure } from '../../support/watch.js'

let server: RedisServer
const opened: Batches[] = []
const shared: RedisShared[] = []
/** Each test has names of its own. */
let prefix = 0

beforeAll(async () => {
  server = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
})
beforeEach(() => void prefix++)
afterEach(async () => {
  for (const batches of opened.splice(0)) await batches.close({ timeoutMs: 0 })
  for (const one of shared.splice(0)) await one.close()
})
afterAll(() => server.remove())

/** One more process: all that one test makes have their batches in common. */
const make: MakeBatches = (blossom, options) => {
  const state = redisShared({ url: server.url, prefix: `test${prefix}` })
  const batches = createBatches(blossom, { shared: state, ...options })
  shared.push(state)
  opened.push(batches)
  return batches
}

describe('in Redis', () => {
  batchesContract(() => make)
  filesContract(() => make)

  it('runs lines in any process, and shows the progress of a batch to all processes', async () => {
    const asked: string[] = []
    const process = (name: string) => make(clientOf(() => void asked.push(name)))
    const [server, one, two] = [process('server'), process('one'), process('two')]
    const { id } = await server.create(numbered(300))
    one.worker()
    two.worker()
    expect(await all(two.results(id))).toHaveLength(300)
    expect(await all(server.results(id))).toHaveLength(300)
    expect((await server.status(id)).status).toBe('completed')
    expect(new Set(asked)).toEqual(new Set(['one', 'two']))
    expect(asked).toHaveLength(300)
  })

  it('lets all data of a batch in Redis expire', async () => {
    const batches = make(clientOf(echo), { keepMs: 5_000 })
    const { id } = await batches.create(numbered(3))
    batches.worker()
    await all(batches.results(id))
    const client = createClient({ url: server.url })
    await client.connect()
    const keys = await client.keys(`*test${prefix}*:of:*`)
    const lasting = []
    for (const key of keys) if ((await client.ttl(key)) === -1) lasting.push(key)
    client.destroy()
    // The list of an owner's batches.
    expect(lasting).toHaveLength(1)
    await expect
      .poll(async () => (await failure(batches.status(id))) instanceof Error, { timeout: 20_000 })
      .toBe(true)
  })
})
