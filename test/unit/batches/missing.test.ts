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
vi.mock('@fastify/busboy', () => {
  throw new Error('Cannot find package')
})

afterEach(() => void vi.restoreAllMocks())

it('batches in Redis name the package they need, to the caller of create() and to the operator', async () => {
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

it('a gateway with batches tells the operator at once which package reads uploads', async () => {
  const said = catchWarnings()
  const blossom = createBlossom()
  const batches = createBatches(blossom)
  createGateway(blossom)
  const gateway = createGateway(blossom, { batches, adminToken: 'of-the-administrator' })
  await expect.poll(() => said).toEqual([expect.stringContaining('`npm install @fastify/busboy`')])
  const body = new FormData()
  body.append('purpose', 'batch')
  body.append('file', new Blob(['{}']), 'questions.jsonl')
  const headers = { authorization: 'Bearer of-the-administrator' }
  const request = new Request('http://localhost/v1/files', { method: 'POST', headers, body })
  expect((await gateway(request)).status).toBe(500)
  await batches.close()
})
