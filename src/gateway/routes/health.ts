import { now, wallTime } from '../../core/index.js'
import type { Reply } from '../server/message.js'
import { json } from '../server/reply.js'
import { guidePoolStats } from './guide.js'
import { guideRoute, type Route, type RouteTools } from './route.js'

const startedAt = now()

/**
 * The breaker's state, with the guide's names. It is `open` only if every circuit that had calls is
 * open, because a breaker by model still accepts calls for other models.
 */
function breakerState({ view }: RouteTools): 'closed' | 'open' | 'half_open' | 'unknown' {
  if (view.breaker === undefined) return 'unknown'
  const { open, halfOpen, total } = view.breaker.circuits
  if (open > 0 && open === total) return 'open'
  return halfOpen > 0 ? 'half_open' : 'closed'
}

/** Why the server should not get traffic now, if so. Reads state only and never calls upstream. */
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

/** Tests upstream with a generation, one at a time, and caches the result. */
class Probe {
  #until = 0
  #isHealthy = true
  #running: Promise<boolean> | undefined

  ask({ blossom, options }: RouteTools): Promise<boolean> | boolean {
    const { probe } = options
    if (probe === undefined || now() < this.#until) return this.#isHealthy
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
      .then((isHealthy) => {
        this.#isHealthy = isHealthy
        this.#until = now() + probe.everyMs
        this.#running = undefined
        return isHealthy
      })
    return this.#running
  }
}

/** The health routes. They read state only, unless the option `probe` is set. */
export function healthRoutes(): Route[] {
  const probe = new Probe()
  const health = async (_: unknown, tools: RouteTools): Promise<Reply> => {
    const reason = unreadiness(tools) ?? ((await probe.ask(tools)) ? undefined : 'unhealthy')
    const { open = 0, total = 0 } = tools.view.breaker?.circuits ?? {}
    const body = {
      status: reason ?? 'healthy',
      timestamp: new Date(wallTime()).toISOString(),
      uptime_seconds: Number(((now() - startedAt) / 1_000).toFixed(3)),
      pool_stats: guidePoolStats(tools.view),
      circuit_breaker_state: breakerState(tools),
      breakers: { open, total },
    }
    return json(body, reason === undefined ? 200 : 503)
  }
  const route = (name: Route['name'], path: string, handle: Route['handle']): Route =>
    guideRoute('GET', path, { name, anyone: true, handle })
  return [
    route('health', '/health', health),
    route('health-live', '/health/live', live),
    route('health-ready', '/health/ready', ready),
  ]
}
