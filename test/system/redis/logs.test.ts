import { createClient } from 'redis'
import { describe } from 'vitest'
import { redisShared } from '../../../src/redis/index.js'
import { sharedLogsContract } from '../../support/shared-logs-contract.js'
import { logProcesses } from './log-processes.js'
import { PATIENT_MS, sharedRedis } from './shared-redis.js'

const redis = sharedRedis()

async function open() {
  const client = createClient({ url: redis.server.url })
  client.on('error', () => {})
  await client.connect()
  const shared = redisShared({ client, timeoutMs: PATIENT_MS })
  const close = async () => {
    await shared.close()
    if (client.isOpen) client.destroy()
  }
  return { client, shared, close }
}

describe('logs in Redis', () => {
  sharedLogsContract((count) => logProcesses(count, open), { numRuns: 15 })
})
