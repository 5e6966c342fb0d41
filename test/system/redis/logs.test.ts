import { createClient } from 'redis'
import { describe } from 'vitest'
import { redisShared } from '../../../src/redis/index.js'
import { sharedLogsContract } from '../../support/shared-logs-contract.js'
import { PATIENT_MS, sharedRedis } from './shared-redis.js'

const redis = sharedRedis()

async function open() {
  const client = createClient({ url: redis.server.url })
  client.on('error', () => {})
  await client.connect()
  return { client, shared: redisShared({ client, timeoutMs: PATIENT_MS }) }
}

describe('logs in Redis', () => {
  sharedLogsContract(
    async (count) => {
      const opened = await Promise.all(Array.from({ length: count }, open))
      return {
        of: opened.map(({ shared }) => shared.logs('streams')),
        // What it would have said, nobody hears.
        kill: (index) => opened[index]?.client.destroy(),
        [Symbol.asyncDispose]: async () => {
          for (const { client, shared } of opened) {
            await shared.close()
            if (client.isOpen) client.destroy()
          }
        },
      }
    },
    { numRuns: 15 },
  )
})
