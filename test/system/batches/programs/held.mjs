/**
 * A worker of batches in Redis whose calls never end: `held.mjs redis-url`. It tells by a message of
 * each call that it makes.
 */
import { createBatches } from 'blossom-stack/batches'
import { redisShared } from 'blossom-stack/redis'

const blossom = {
  request({ body }) {
    process.send(body.n)
    return new Promise(() => {})
  },
}
const shared = redisShared({ url: process.argv[2] })
createBatches(blossom, { shared, concurrency: 1, stalledMs: 1_000 }).worker()
