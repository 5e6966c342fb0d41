import { ConfigError, check, rules } from '../core/index.js'
import type { PrometheusOptions } from '../telemetry/prometheus/index.js'
import { tokenRule } from './token.js'

/** Option `metrics` of `createGateway()`. */
export interface MetricsOptions {
  /**
   * Who asks needs it as a Bearer token. At least 16 characters.
   * @default none: everybody may ask
   */
  token?: string | undefined
  /** As of `prometheus()`: labels of all samples, and `tenant: true`. @default none */
  labels?: PrometheusOptions['labels']
}

export interface CheckedMetricsOptions {
  readonly token: string | undefined
  readonly labels: PrometheusOptions['labels']
}

/** Whether a value can be the option; what is in it is checked by `readMetricsOptions`. */
export const metricsRule = rules.custom<boolean | MetricsOptions, false>(
  'true, false or an object { token, labels }',
  false,
  (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
)

/**
 * What the option means; undefined when it is off. Labels are checked by `prometheus()`.
 * @throws ConfigError for a wrong option
 */
export function readMetricsOptions(
  given: boolean | MetricsOptions,
): CheckedMetricsOptions | undefined {
  if (given === false) return undefined
  return check<CheckedMetricsOptions>(
    'createGateway: metrics',
    given === true ? undefined : given,
    {
      token: tokenRule,
      labels: rules.anything<PrometheusOptions['labels']>(),
    },
  )
}

/** @throws ConfigError when the route is named and the metrics are off */
export function checkMetricsRoute(
  routes: readonly string[] | undefined,
  metrics: CheckedMetricsOptions | undefined,
): void {
  if (routes?.includes('metrics') && metrics === undefined)
    throw new ConfigError('createGateway: the route "metrics" needs the option "metrics".')
}
