import { afterEach, expect, it, vi } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import { createGateway } from '../../../src/gateway/index.js'
import { ConfigError, createBlossom } from '../../../src/index.js'
import { redisShared } from '../../../src/redis/index.js'
import { numbered } from '../../support/batches-contract.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure } from '../../support/watch.js'

vi.mock('bullmq', () => {
  throw new Error('Cannot find package')
})
vi.mock('node:module', async (original) => ({
  ...(await original<typeof import('node:module')>()),
  createRequire: () => ({
    resolve: () => {
      throw new Error('Cannot find module')
    },
  }),
}))

afterEach(() => void vi.restoreAllMocks())

it('batches in Redis name the package that they need, in create() and to the operator', async () => {
  const said = catchWarnings()
  const shared = redisShared({ url: 'redis://127.0.0.1:9' })
  const batches = createBatches(createBlossom(), { shared })
  const error = await failure(batches.create(numbered(1)))
  expect(error).toBeInstanceOf(ConfigError)
  expect((error as Error).message).toContain('`npm install bullmq`')
  batches.worker()
  await expect.poll(() => said.some((text) => text.includes('npm install bullmq'))).toBe(true)
  await batches.close()
  await shared.close()
})

it('a gateway with batches names the package that reads uploads', async () => {
  const blossom = createBlossom()
  const batches = createBatches(blossom)
  expect(() => createGateway(blossom, { batches })).toThrow('`npm install @fastify/busboy`')
  expect(() => createGateway(blossom)).not.toThrow()
  await batches.close()
})
