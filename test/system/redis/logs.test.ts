import { describe } from 'vitest'
import { sharedLogsContract } from '../../support/shared-logs-contract.js'
import { sharedRedis } from './shared-redis.js'

const redis = sharedRedis()

describe('logs in Redis', () => {
  sharedLogsContract(
    async (count) => {
      const states = await Promise.all(Array.from({ length: count }, () => redis.connected()))
      return {
        of: states.map((shared) => shared.logs('streams')),
        // Its connections end; what it would have said, nobody hears.
        kill: (index) => void states[index]?.close(),
        [Symbol.asyncDispose]: async () => {
          await Promise.all(states.map((shared) => shared.close()))
        },
      }
    },
    { numRuns: 15 },
  )
})
