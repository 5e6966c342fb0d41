import { check, rules } from '../../core/index.js'
import { isOrigin } from '../options.js'

/** Options of `attachWebSocket()`. */
export interface WebSocketOptions {
  /**
   * Path of the WebSocket, as received by the server. Include the path of a mount such as
   * `app.use('/ai', …)`, because frameworks do not handle upgrades.
   * @default the gateway's `prefix` and `/ws/generate`
   */
  path?: string | undefined
  /**
   * Origins of web pages that may connect, such as `https://app.example`; `*` for all. The server's own
   * origin is always allowed; it is taken from the `Host` header, so list it if a proxy changes
   * that header. Clients that send no `Origin` are not browsers and may connect.
   * @default the gateway's `corsOrigins`
   */
  origins?: readonly string[] | undefined
  /** Maximum number of open connections, at least 1; more are rejected with 503. @default 1000 */
  maxConnections?: number | undefined
  /**
   * Maximum number of running generations on one connection, 1 to 1,000; more are rejected with
   * `QUEUE_FULL`.
   * @default 4
   */
  maxGenerations?: number | undefined
  /**
   * Maximum size of a message, in bytes, 1 to 16 MiB; a larger one ends the connection with code
   * 1009.
   * @default 65536 (64 KiB)
   */
  maxPayload?: number | undefined
  /**
   * Rate limit of messages on one connection. More than `limit` within `intervalMs`, in
   * milliseconds, are rejected with `RATE_LIMITED`; more than twice as many end the connection with
   * code 1008.
   * @default { limit: 60, intervalMs: 10000 }
   */
  rate?: { limit: number; intervalMs: number } | undefined
  /**
   * Ends a connection with code 1000 after this time without messages and running generations.
   * Milliseconds, at most one day; 0 for never.
   * @default 300000
   */
  idleMs?: number | undefined
  /**
   * Interval of pings. A client that has not answered a ping before the next one is disconnected.
   * Milliseconds, at most one day; 0 for no pings.
   * @default 30000
   */
  pingMs?: number | undefined
  /**
   * Time that a client has to confirm the end of its connection. Milliseconds, at least 1, at most
   * one day.
   * @default 2000
   */
  closeTimeoutMs?: number | undefined
}

/** The limits of one connection. */
export interface SessionLimits {
  readonly maxGenerations: number
  readonly rate: { readonly limit: number; readonly intervalMs: number }
  readonly idleMs: number
  readonly pingMs: number
  readonly closeTimeoutMs: number
}

export interface CheckedWebSocketOptions extends SessionLimits {
  readonly path: string | undefined
  readonly origins: readonly string[] | undefined
  readonly maxConnections: number
  readonly maxPayload: number
}

const SUBJECT = 'attachWebSocket'
const DAY_MS = 24 * 3_600_000

export function readWebSocketOptions(
  options: WebSocketOptions | undefined,
): CheckedWebSocketOptions {
  const { rate, ...checked } = check<WebSocketOptions>(SUBJECT, options, {
    path: rules.custom<string, undefined>(
      'a path such as "/ai/ws/generate"',
      undefined,
      (value) => typeof value === 'string' && /^(\/[\w.~-]+)+$/.test(value),
    ),
    origins: rules.list('a list of origins such as "https://app.example"', isOrigin),
    maxConnections: rules.integer(1_000, { min: 1 }),
    maxGenerations: rules.integer(4, { min: 1, max: 1_000 }),
    maxPayload: rules.integer(64 * 1024, { min: 1, max: 16 * 1024 * 1024 }),
    rate: rules.custom<{ limit: number; intervalMs: number }, undefined>(
      'an object { limit, intervalMs }',
      undefined,
      (value) => typeof value === 'object' && value !== null,
    ),
    idleMs: rules.duration(300_000, { min: 0, max: DAY_MS }),
    pingMs: rules.duration(30_000, { min: 0, max: DAY_MS }),
    closeTimeoutMs: rules.duration(2_000, { min: 1, max: DAY_MS }),
  })
  return {
    ...(checked as Omit<CheckedWebSocketOptions, 'rate'>),
    rate: check(`${SUBJECT}: rate`, rate, {
      limit: rules.integer(60, { min: 1 }) as rules.Rule<number>,
      intervalMs: rules.duration(10_000, { max: DAY_MS }) as rules.Rule<number>,
    }),
  }
}
