/**
 * A worker that runs the lines of batches accepted by the servers. It uses the same environment
 * variables as they do; BLOSSOM_WORKER_CONCURRENCY is the number of lines that it runs at once.
 */
import { createBatches } from 'blossom-stack/batches'
import { blossomFromEnv } from 'blossom-stack/http'
import { redisShared } from 'blossom-stack/redis'

/**
 * How long running lines may take to finish after a SIGTERM, in milliseconds. Less than the time
 * after which Docker or Kubernetes kills the process. Another worker runs aborted lines.
 */
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
  // A second signal ends the process immediately.
  if (isStopping) process.exit(1)
  isStopping = true
  await batches.close({ timeoutMs: STOP_MS })
  await blossom.close({ timeoutMs: 0 })
  await shared.close()
  process.exit(0)
}
