import { check, rules } from '../../core/index.js'
import { isOrigin, names } from '../options.js'

/** Options of `attachWebSocket()`. */
export interface WebSocketOptions {
  /**
   * The path as received: with what a mount strips (`app.use('/ai', …)`), as upgrades come before
   * all mounts.
   * @default the gateway's `prefix` and `/ws/generate`
   */
  path?: string | undefined
  /**
   * Origins of pages that may connect beside the server's own, such as `https://app.example`; `*`
   * for all. The own one is that of the `Host` header, so name yours behind a proxy that changes
   * it. A client that sends no `Origin` is no browser and may connect.
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
   * Messages on one connection: those beyond `limit` within `intervalMs` are refused with
   * `RATE_LIMITED`; as many again within the same time end the connection with 1008.
   * @default { limit: 60, intervalMs: 10000 }
   */
  rate?: { limit: number; intervalMs: number } | undefined
  /**
   * After so much time without a message and with no generation under way the connection ends with
   * 1000. Milliseconds; 0 for never.
   * @default 300000
   */
  idleMs?: number | undefined
  /**
   * Time between pings; whoever has not answered one by the next is cut off. Milliseconds; 0 for
   * none.
   * @default 30000
   */
  pingMs?: number | undefined
  /**
   * How long a visitor may take to confirm that the connection ends. Milliseconds. @default 2000
   */
  closeTimeoutMs?: number | undefined
}

/** What a connection heeds. */
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
