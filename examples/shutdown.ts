/**
 * How a server ends: no new calls, what runs may finish, and nothing is left open. Every example
 * uses it.
 */
import { once } from 'node:events'
import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Blossom } from 'blossom-stack'
import type { Gateway } from 'blossom-stack/http'

export interface Parts {
  server: Server
  gateway: Gateway
  blossom: Pick<Blossom, 'close'>
  /**
   * How long load balancers may need to see that `/health/ready` is 503 and to send clients
   * elsewhere.
   * @default 0
   */
  drainDelayMs?: number
  /**
   * How long running calls may take to finish; then they are cut. Kubernetes kills after 30 s.
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
  // A connection kept alive gets this one answer more; without it clients could go on asking until
  // the end.
  server.prependListener('request', (_, response) => response.setHeader('connection', 'close'))
  const closed = once(server.close(), 'close')
  await gateway.close({ timeoutMs: left() })
  // Hand-written routes call the client without the gateway: their calls are waited for here.
  await blossom.close({ timeoutMs: left() })
  // What was cut has a last event to send; then idle connections, and readers who do not read, are
  // in the way.
  await Promise.race([closed, sleep(500)])
  server.closeAllConnections()
}

/**
 * SIGTERM (Docker, Kubernetes) and SIGINT (Ctrl-C) shut down in order; a second one ends the
 * process at once.
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
