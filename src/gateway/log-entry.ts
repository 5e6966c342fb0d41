import type { TimeoutPhase } from '../core/index.js'

/** The log entry of one finished request. It contains no prompts and no answers. */
export interface RequestLog {
  /** Time of the end, in ISO 8601. */
  readonly time: string
  /** `error` for 5xx and broken streams, `warn` for other failures, `info` for everything else. */
  readonly level: 'info' | 'warn' | 'error'
  /** Id of the request. */
  readonly requestId: string
  /** HTTP method, or `WS` for a WebSocket message. */
  readonly method: string
  /** The route's path, without prefix and query; `(unknown)` for any other path. */
  readonly route: string
  /** Status that was sent, or 499 if the client disconnected before the end. */
  readonly status: number
  /** Time from the arrival of the request to the end of its answer. */
  readonly durationMs: number
  /** For streams: time from the request to the first token. */
  readonly firstTokenMs?: number
  /** Time the call waited for a slot. */
  readonly queuedMs?: number
  /** Whether the answer came from the cache. */
  readonly cached?: boolean
  /** Number of requests sent to upstream. */
  readonly attempts?: number
  /** Upstream's id of the last request sent to it. */
  readonly upstreamRequestId?: string
  /** Trace id, if the client is instrumented with OpenTelemetry. */
  readonly traceId?: string
  /** Tenant, as returned by the option `call`. */
  readonly tenant?: string
  /** Address of the client, as returned by the option `call`. */
  readonly clientAddress?: string
  /** Error code, if the request failed. */
  readonly code?: string
  /**
   * For a timeout: which limit was exceeded; `read` with status 499 if the client read too slowly.
   */
  readonly phase?: TimeoutPhase
  /** For the code `CONFIG`: what the operator has to fix. */
  readonly detail?: string
}
