import type { TimeoutPhase } from '../core/index.js'

/** One finished request. It holds no prompt and no answer. */
export interface RequestLog {
  /** ISO 8601. */
  readonly time: string
  readonly level: 'info' | 'warn' | 'error'
  readonly requestId: string
  /** `WS` for a message over a WebSocket. */
  readonly method: string
  /** The route's path, without prefix and query; `(unknown)` for any other path. */
  readonly route: string
  /** As sent; 499 if the client disconnected before the end. */
  readonly status: number
  readonly durationMs: number
  /** Streams: from the request to the first token. */
  readonly firstTokenMs?: number
  /** Time the call waited for a slot. */
  readonly queuedMs?: number
  /** Whether the answer came from the cache. */
  readonly cached?: boolean
  /** Requests sent upstream. */
  readonly attempts?: number
  readonly upstreamRequestId?: string
  /** Id of its trace, if the client is instrumented with OpenTelemetry. */
  readonly traceId?: string
  readonly tenant?: string
  readonly clientAddress?: string
  /** The error's code, if it failed. */
  readonly code?: string
  /** Of a time-out: which limit it was; `read` with status 499 when the client read too slowly. */
  readonly phase?: TimeoutPhase
  /** What to do about an error that only the operator can fix, code `CONFIG`. */
  readonly detail?: string
}
