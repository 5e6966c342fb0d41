import type { SharedJobs, SharedState } from '../core/index.js'
import { ConfigError, check, isSharedState, type JobRunner, rules } from '../core/index.js'
import { BatchesCore } from './core.js'
import { DirectoryLock } from './directory/lock.js'
import { DirectoryShelves } from './directory/shelves.js'
import { BATCHES, type BatchesInternals } from './internals.js'
import { LocalJobs } from './local/jobs.js'
import { MemoryShelves } from './local/memory.js'
import { type BatchClient, LineRunner } from './runner.js'
import type { Batches, BatchesOptions } from './types.js'

export type { BatchClient } from './runner.js'
export type {
  BatchEndpoint,
  BatchError,
  Batches,
  BatchesOptions,
  BatchesStats,
  BatchItem,
  BatchResult,
  BatchStatus,
  BatchWorker,
  CreateBatchOptions,
  ResultsOptions,
} from './types.js'

const DAY_MS = 24 * 3_600_000

/**
 * A line is given up if the process has died this many times while it was running, because the line
 * may be the cause. The limit is higher than with several processes, as users also kill a single
 * process themselves.
 */
const MOST_RUNS = 10

/**
 * Creates batches of calls. They survive a restart if they are stored in Redis (`shared`) or in a
 * directory (`directory`); otherwise they are kept in memory. Each line gets exactly one result,
 * even if processes are killed. Lines run through the client's stack, with lower priority than all
 * other calls.
 *
 * `shared` requires the packages `redis`, version 5 or later, and `bullmq`, version 6 or later.
 *
 * @throws ConfigError (`CONFIG`) if an option is invalid, or another process uses the directory
 * @example
 * const batches = createBatches(blossom, { directory: 'batches' })
 * const worker = batches.worker()
 * const { id } = await batches.create([{ messages: [{ role: 'user', content: 'Hello' }] }])
 * for await (const result of batches.results(id)) console.log(result)
 */
export function createBatches(blossom: BatchClient, options?: BatchesOptions): Batches {
  if (typeof (blossom as Partial<BatchClient> | null)?.request !== 'function')
    throw new ConfigError(
      'createBatches: the first argument must be a client from createBlossom().',
    )
  const checked = readOptions(options)
  const counts = { running: 0, completed: 0, failed: 0, postponed: 0, lost: 0 }
  const core = new BatchesCore(jobsOf(checked, new LineRunner(blossom, counts)), checked, counts)
  const batches: Batches & { [BATCHES]: BatchesInternals } = {
    create: (items, given) => core.create(items, given),
    status: (id) => core.status(id),
    results: (id, given) => core.results(id, given),
    cancel: (id) => core.cancel(id),
    worker: () => core.worker(),
    close: (given) => core.close(given),
    stats: () => core.stats(),
    [BATCHES]: core,
  }
  return batches
}

function readOptions(options: BatchesOptions | undefined) {
  const checked = check<BatchesOptions>('createBatches', options, {
    shared: rules.custom<SharedState, undefined>(
      'the result of redisShared()',
      undefined,
      isSharedState,
    ),
    directory: rules.text(undefined),
    name: rules.layerName('batches'),
    concurrency: rules.integer(5, { min: 1, max: 10_000 }),
    expireMs: rules.duration(DAY_MS, { min: 1_000 }),
    keepMs: rules.duration(30 * DAY_MS, { min: 1_000 }),
    stalledMs: rules.duration(30_000, { min: 1_000, max: 3_600_000 }),
  })
  if (checked.shared !== undefined && checked.directory !== undefined)
    throw new ConfigError('createBatches: pass only one of the options "shared" and "directory".')
  return checked as BatchesOptions & Required<Omit<CheckedNumbers, never>> & { name: string }
}

interface CheckedNumbers {
  readonly concurrency: number
  readonly expireMs: number
  readonly keepMs: number
  readonly stalledMs: number
}

function jobsOf(
  { shared, directory, name, stalledMs }: ReturnType<typeof readOptions>,
  runner: JobRunner,
): SharedJobs {
  if (shared !== undefined) return shared.jobs(name, { runner, stalledMs })
  if (directory === undefined)
    return new LocalJobs(new MemoryShelves(), { runner, mostRuns: Number.POSITIVE_INFINITY })
  const shelves = new DirectoryShelves(directory, new DirectoryLock(directory))
  return new LocalJobs(shelves, { runner, mostRuns: MOST_RUNS })
}
