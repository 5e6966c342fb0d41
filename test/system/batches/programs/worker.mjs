/**
 * A worker of batches in Redis until it is killed: `worker.mjs redis-url upstream-url`. It tells by
 * a message when it has begun.
 */
import { createBlossom, retry } from 'blossom-stack'
import { createBatches } from 'blossom-stack/batches'
import { redisShared } from 'blossom-stack/redis'

const [url, baseURL] = process.argv.slice(2)
const blossom = createBlossom({ baseURL, apiKey: 'sk_test' }).use(retry())
const batches = createBatches(blossom, {
  shared: redisShared({ url }),
  concurrency: 25,
  stalledMs: 2_000,
})
batches.worker()
process.send('begun')
