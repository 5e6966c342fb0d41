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
 * State that the processes of a service share. `redisShared()` creates one, and layers accept it in
 * their `shared` option. Except for `jobs`, no method throws or rejects, and each has its own time
 * limit. `null` means that the shared state could not be reached in time; the caller then decides
 * for its own process alone.
 */
export interface SharedState {
  /** The entries of a cache. Caches with the same name share them. */
  entries(name: string): SharedEntries
  /** The current levels of rate limits, for all keys. Limits with the same name share them. */
  limits(name: string): SharedLimits
  /** Logs that one process writes and others read. Logs with the same name are shared. */
  logs(name: string): SharedLogs
  /** The circuits of a breaker. Breakers with the same name share them. */
  circuits(name: string): SharedCircuits
  /** The slots of a queue. Queues with the same name share them. */
  slots(name: string): SharedSlots
  /** Batches of jobs that outlive the process. Processes that use the same name share them. */
  jobs(name: string, options: SharedJobsOptions): SharedJobs
  /** Counters of operations and failures. */
  stats?: (() => SharedStateStats) | undefined
}

/** Counters of the shared state. */
export interface SharedStateStats {
  /** Operations that failed or took too long. */
  readonly failures: number
  /**
   * Decisions made for this process alone, because the shared state could not be reached in time.
   */
  readonly alone: number
  /** Gauge: processes seen in the last 10 s, including this one. */
  readonly processes: number
}

/** Marks an object as shared state, for layers of any copy of the library. */
export const sharedState = <T extends SharedState>(methods: T): T =>
  Object.assign(methods, { [SHARED_STATE]: true })

/** Whether a value is shared state, from this copy of the library or another. */
export function isSharedState(value: unknown): value is SharedState {
  return typeof value === 'object' && value !== null && SHARED_STATE in value
}
