import { check, rules } from '../../core/index.js'
import { isOrigin, names } from '../options.js'

/** Options of `attachWebSocket()`. */
export interface WebSocketOptions {
  /**
   * The path as received, including what a mount strips (`app.use('/ai', …)`): upgrades come before
   * all mounts.
   * @default the gateway's `prefix` and `/ws/generate`
   */
  path?: string | undefined
  /**
   * Origins of pages that may connect besides the server's own, such as `https://app.example`; `*`
   * for all. The server's own is taken from the `Host` header: list it if a proxy changes that
   * header. A client without an `Origin` is not a browser and may connect.
   * @default the gateway's `corsOrigins`
   */
  origins?: readonly string[] | undefined
  /** Connections at a time; more are refused with 503. @default 1000 */
  maxConnections?: number | undefined
  /** Generations at a time on one connection; more are refused with `QUEUE_FULL`. @default 4 */
  maxGenerations?: number | undefined
  /** Largest message. Bytes; a larger one ends the connection with 1009. @default 65536 */
  maxPayload?: number | undefined
  /**
   * Messages on one connection: those above `limit` within `intervalMs` are refused with
   * `RATE_LIMITED`; twice the limit within the same time ends the connection with 1008.
   * @default { limit: 60, intervalMs: 10000 }
   */
  rate?: { limit: number; intervalMs: number } | undefined
  /**
   * The connection ends with 1000 after this time without a message or a running generation.
   * Milliseconds; 0 for never.
   * @default 300000
   */
  idleMs?: number | undefined
  /**
   * Time between pings; a client that has not answered one before the next is disconnected.
   * Milliseconds; 0 for none.
   * @default 30000
   */
  pingMs?: number | undefined
  /**
   * How long a client may take to confirm that the connection ends. Milliseconds. @default 2000
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
    origins: names('a list of origins such as "https://app.example"', isOrigin),
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
