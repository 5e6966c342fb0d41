/**
 * Graceful shutdown: accepts no new calls, lets running ones finish, and closes everything. All
 * examples use it.
 */
import { type EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Blossom } from 'blossom-stack'
import type { Gateway } from 'blossom-stack/http'

export interface Parts {
  /** A server of node:http, or what `serve()` of `@hono/node-server` returns. */
  server: EventEmitter & { close(): EventEmitter; closeAllConnections?(): void }
  gateway: Gateway
  blossom: Pick<Blossom, 'close'>
  /**
   * How long load balancers need to notice that `/health/ready` answers 503, and to send clients to
   * other servers, in milliseconds.
   * @default 0
   */
  drainDelayMs?: number
  /**
   * How long running calls may take to finish before they are aborted, in milliseconds. Kubernetes
   * kills a process after 30 s.
   * @default 25000
   */
  timeoutMs?: number
}

export async function shutDown({
  server,
  gateway,
  blossom,
  drainDelayMs = 0,
  timeoutMs = 25_000,
}: Parts): Promise<void> {
  gateway.drain()
  if (drainDelayMs > 0) await sleep(drainDelayMs)
  const endsAt = performance.now() + timeoutMs
  const left = () => Math.max(0, endsAt - performance.now())
  // Close keep-alive connections after their next answer. Otherwise clients could send requests
  // until the end.
  server.prependListener('request', (_, response) => response.setHeader('connection', 'close'))
  const closed = once(server.close(), 'close')
  await gateway.close({ timeoutMs: left() })
  // Wait for the calls of hand-written routes, which use the client without the gateway.
  await blossom.close({ timeoutMs: left() })
  // Give aborted streams time to send a last event. Then close idle connections and those of
  // clients that do not read.
  await Promise.race([closed, sleep(500)])
  server.closeAllConnections?.()
}

/**
 * Shuts down on SIGTERM (Docker, Kubernetes) and SIGINT (Ctrl-C). A second signal ends the process
 * immediately.
 */
export function stopOnSignals(parts: Parts): void {
  let isStopping = false
  const stop = async () => {
    if (isStopping) process.exit(1)
    isStopping = true
    await shutDown(parts)
    process.exit(0)
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}
