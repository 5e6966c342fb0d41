import type { JobWorker, SharedJobs } from '../../core/index.js'
import { JobStore } from './store.js'
import { RedisWorker } from './worker.js'

/**
 * Batches in Redis. BullMQ hands out their lines, one job each, and finds those whose worker has
 * died. What counts is written by scripts of ours, so that a job that is handed out twice has one
 * result all the same.
 */
export class RedisJobs extends JobStore implements SharedJobs {
  work(concurrency: number): JobWorker {
    return new RedisWorker(this, concurrency)
  }
}
