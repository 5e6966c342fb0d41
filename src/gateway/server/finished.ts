import type { Caller } from '../caller.js'

/** A request that has ended, successfully or not. */
export interface Finished {
  readonly requestId: string
  readonly method: string
  readonly route: string
  /** Status that was sent. */
  readonly status: number
  /** Start of the request, on the `performance.now()` clock. */
  readonly startedAt: number
  /** For a stream that has begun: time to its first token. */
  readonly firstTokenMs?: number | undefined
  readonly meta?: ReadonlyMap<string, unknown>
  readonly caller: Caller
  /** Whether the client disconnected before the end; its errors are then not reported. */
  readonly left?: boolean
  readonly error: unknown
}
