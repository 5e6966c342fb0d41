import { now, wallTime } from '../../core/index.js'
import type { Reply } from '../server/message.js'
import { json } from '../server/reply.js'
import { guidePoolStats } from './guide.js'
import type { Route, RouteTools } from './route.js'

const startedAt = now()

/** `closed`, `open` or `half_open`, as the guide writes it; `unknown` without a breaker. */
const breakerState = ({ view }: RouteTools): string =>
  view.breaker?.state.replace('-', '_') ?? 'unknown'

/**
 * Why the server should get no traffic now; undefined when it should. State only: nothing is asked
 * upstream.
 */
function unreadiness(tools: RouteTools): 'draining' | 'unhealthy' | undefined {
  if (tools.isDraining()) return 'draining'
  return breakerState(tools) === 'open' ? 'unhealthy' : undefined
}

async function live(): Promise<Reply> {
  return json({ status: 'ok' })
}

async function ready(_: unknown, tools: RouteTools): Promise<Reply> {
  const reason = unreadiness(tools)
  return json({ status: reason ?? 'ready' }, reason === undefined ? 200 : 503)
}

/** A verdict on upstream that was paid for, kept for a while; one probe at a time. */
class Probe {
  #until = 0
  #well = true
  #running: Promise<boolean> | undefined

  ask({ blossom, options }: RouteTools): Promise<boolean> | boolean {
    const { probe } = options
    if (probe === undefined || now() < this.#until) return this.#well
    this.#running ??= blossom.text
      .generate(probe.prompt ?? 'Health check', {
        maxTokens: 5,
        cache: 'no-store',
        timeoutMs: 5_000,
      })
      .then(
        () => true,
        () => false,
      )
      .then((well) => {
        this.#well = well
        this.#until = now() + probe.everyMs
        this.#running = undefined
        return well
      })
    return this.#running
  }
}

/** The health routes: they read state and, unless a probe was asked for, spend nothing. */
export function healthRoutes(): Route[] {
  const probe = new Probe()
  const health = async (_: unknown, tools: RouteTools): Promise<Reply> => {
    const reason = unreadiness(tools) ?? ((await probe.ask(tools)) ? undefined : 'unhealthy')
    const body = {
      status: reason ?? 'healthy',
      timestamp: new Date(wallTime()).toISOString(),
      uptime_seconds: Number(((now() - startedAt) / 1_000).toFixed(3)),
      pool_stats: guidePoolStats(tools.view),
      circuit_breaker_state: breakerState(tools),
    }
    return json(body, reason === undefined ? 200 : 503)
  }
  const route = (name: Route['name'], path: string, handle: Route['handle']): Route => ({
    name,
    method: 'GET',
    path,
    dialect: 'guide',
    spends: false,
    anyone: true,
    handle,
  })
  return [
    route('health', '/health', health),
    route('health-live', '/health/live', live),
    route('health-ready', '/health/ready', ready),
  ]
}
