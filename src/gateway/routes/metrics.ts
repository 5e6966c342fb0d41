import { prometheus } from '../../telemetry/prometheus/index.js'
import { rejection } from '../rejection.js'
import { bearer } from '../server/headers.js'
import { isToken } from '../token.js'
import { guideRoute, type Route, type RouteTools } from './route.js'

interface MeteredGateway extends Pick<RouteTools, 'blossom' | 'options'> {
  onClose(end: (finished: Promise<void>) => Promise<void>): () => void
}

/** The metrics route, if the option `metrics` is set. Counting starts now. */
export function metricsRoutes(core: MeteredGateway): Route[] {
  const { metrics: options, routes } = core.options
  if (options === undefined || routes?.includes('metrics') === false) return []
  const { token, labels } = options
  const metrics = prometheus(core.blossom, { labels })
  core.onClose(async (finished) => {
    await finished
    metrics.stop()
  })
  const handle: Route['handle'] = async ({ incoming }) => {
    const given = bearer(incoming)
    if (token !== undefined && (given === undefined || !isToken(given, token))) {
      const headers = { 'www-authenticate': 'Bearer' }
      throw rejection('AUTH', 401, 'The metrics require a Bearer token.', { headers })
    }
    const headers = { 'content-type': metrics.contentType, 'cache-control': 'no-store' }
    return { status: 200, headers, body: metrics.text() }
  }
  return [guideRoute('GET', '/metrics', { name: 'metrics', anyone: true, handle })]
}
