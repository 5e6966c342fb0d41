import type { Caller } from '../caller.js'

/** A request that has ended, however it did. */
export interface Finished {
  readonly requestId: string
  readonly method: string
  readonly route: string
  /** As sent. */
  readonly status: number
  /** On the `performance.now()` clock. */
  readonly startedAt: number
  /** Of a stream whose head went out. */
  readonly firstTokenMs?: number | undefined
  readonly meta?: ReadonlyMap<string, unknown>
  readonly caller: Caller
  /** The client left before the end: what failed then is not reported. */
  readonly left?: boolean
  readonly error: unknown
}
