/**
 * A worker of batches: it runs the lines of those that servers have accepted, with the settings that
 * they have, too. BLOSSOM_WORKER_CONCURRENCY is how many at once.
 */
import { createBatches } from 'blossom-stack/batches'
import { blossomFromEnv } from 'blossom-stack/http'
import { redisShared } from 'blossom-stack/redis'

/** Less than the time until whoever sent the SIGTERM kills. What is cut is run by another worker. */
const STOP_MS = 25_000

const { blossom, batches, shared } = prepare()
batches.worker()
console.log(JSON.stringify({ level: 'info', working: true }))

process.on('SIGTERM', stop)
process.on('SIGINT', stop)

function prepare() {
  try {
    const { REDIS_URL: url, BLOSSOM_WORKER_CONCURRENCY: concurrency } = process.env
    if (!url) throw new Error('The environment variable REDIS_URL must be set.')
    const blossom = blossomFromEnv()
    const shared = redisShared({ url })
    const batches = createBatches(blossom, { shared, concurrency: Number(concurrency || 5) })
    return { blossom, batches, shared }
  } catch (error) {
    console.error(error.message)
    process.exit(1)
  }
}

let isStopping = false
async function stop() {
  // Whoever asks twice does not want to wait.
  if (isStopping) process.exit(1)
  isStopping = true
  await batches.close({ timeoutMs: STOP_MS })
  await blossom.close({ timeoutMs: 0 })
  await shared.close()
  process.exit(0)
}
