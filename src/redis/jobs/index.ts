import type { JobWorker, SharedJobs } from '../../core/index.js'
import { JobStore } from './store.js'
import { RedisWorker } from './worker.js'

/**
 * Batches in Redis. BullMQ distributes their lines, one job each, and detects lines whose worker
 * has died. Results are written by this library's own scripts, so that a job that runs twice still
 * has one result.
 */
export class RedisJobs extends JobStore implements SharedJobs {
  work(concurrency: number): JobWorker {
    return new RedisWorker(this, concurrency)
  }
}
