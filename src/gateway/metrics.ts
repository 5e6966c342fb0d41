import { ConfigError, check, rules } from '../core/index.js'
import type { PrometheusOptions } from '../telemetry/prometheus/index.js'
import { tokenRule } from './token.js'

/** Option `metrics` of `createGateway()`. */
export interface MetricsOptions {
  /**
   * Bearer token required to read the metrics, at least 16 characters.
   * @default none: anyone may read them
   */
  token?: string | undefined
  /**
   * Labels for all samples, and `tenant: true`; see the same option of `prometheus()`.
   * @default none
   */
  labels?: PrometheusOptions['labels']
}

export interface CheckedMetricsOptions {
  readonly token: string | undefined
  readonly labels: PrometheusOptions['labels']
}

/** Checks the type of the option; `readMetricsOptions` checks its fields. */
export const metricsRule = rules.custom<boolean | MetricsOptions, false>(
  'true, false or an object { token, labels }',
  false,
  (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null),
)

/**
 * Reads the option; returns `undefined` if metrics are off. `prometheus()` checks the labels.
 * @throws ConfigError if the option is invalid
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

/** @throws ConfigError if `routes` names the route but metrics are off */
export function checkMetricsRoute(
  routes: readonly string[] | undefined,
  metrics: CheckedMetricsOptions | undefined,
): void {
  if (routes?.includes('metrics') && metrics === undefined)
    throw new ConfigError('createGateway: the route "metrics" needs the option "metrics".')
}
