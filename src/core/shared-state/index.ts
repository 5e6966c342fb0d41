import type { SharedCircuits } from './circuits.js'
import type { SharedEntries } from './entries.js'
import type { SharedJobs, SharedJobsOptions } from './jobs.js'
import type { SharedLimits } from './limits.js'
import type { SharedLogs } from './logs.js'
import type { SharedSlots } from './slots.js'

export * from './circuits.js'
export * from './entries.js'
export * from './jobs.js'
export * from './limits.js'
export * from './logs.js'
export * from './slots.js'

const SHARED_STATE: unique symbol = Symbol.for('blossom-stack.shared-state') as never

/**
 * What the processes of a service know together. `redisShared()` makes one, and layers take it as
 * their option `shared`. But for jobs nothing here rejects or throws, and nothing takes longer than
 * its own time limit: whoever gets `null`, as the others could not be asked in time, goes on as if
 * it were the only process.
 */
export interface SharedState {
  /** The entries of a cache. Caches of one name share them. */
  entries(name: string): SharedEntries
  /** The levels of the limits of all keys. Limits of one name share them. */
  limits(name: string): SharedLimits
  /** Logs that one process writes and others read. Those of one name are the same everywhere. */
  logs(name: string): SharedLogs
  /** The circuits of a breaker. Breakers of one name share them. */
  circuits(name: string): SharedCircuits
  /** The slots of a queue. Queues of one name share them. */
  slots(name: string): SharedSlots
  /** Batches of jobs that outlive the process. Those of one name share them. */
  jobs(name: string, options: SharedJobsOptions): SharedJobs
  /** What has been asked of the others so far, and what came of it. */
  stats?: (() => SharedStateStats) | undefined
}

/** What shared state has counted. */
export interface SharedStateStats {
  /** Operations that failed or took too long. */
  readonly failures: number
  /** Decisions of this process alone, as the others could not be asked in time. */
  readonly alone: number
  /** Gauge: processes that have been heard in the last 10 s, this one among them. */
  readonly processes: number
}

/** Marks an object as shared state, for layers of any copy of the library. */
export const sharedState = <T extends SharedState>(methods: T): T =>
  Object.assign(methods, { [SHARED_STATE]: true })

/** Whether a value is shared state, made by this copy of the library or another. */
export function isSharedState(value: unknown): value is SharedState {
  return typeof value === 'object' && value !== null && SHARED_STATE in value
}
