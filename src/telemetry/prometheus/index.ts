import { ConfigError, check, LAYERS, LISTEN, rules } from '../../core/index.js'
import { internalsOf, type Observed } from '../observed.js'
import { type Family, type Labels, type Sample, textOf } from './families.js'
import { layerFamilies } from './layers.js'
import { Recorder } from './recorder.js'

/** Options of `prometheus()`. */
export interface PrometheusOptions {
  /**
   * Labels for all samples, such as `{ service: 'garden' }`. `tenant: true` adds a label for the
   * tenant to calls, tokens and cost; the first 100 tenants have their own value, later ones are
   * `other`.
   * @default none
   */
  labels?: { readonly [name: string]: string | boolean | undefined } | undefined
}

/** A registry of the package `prom-client`. */
export interface PromClientRegistry {
  /** Adds a metric. */
  registerMetric(metric: object): void
}

/** The metrics of one client or stack. */
export interface PrometheusMetrics {
  /** Content type of the text. */
  readonly contentType: string
  /** Returns all metrics in Prometheus' text format. */
  text(): string
  /** Adds the metrics to a registry of `prom-client`, next to your own metrics. */
  register(registry: PromClientRegistry): void
  /** Stops counting. */
  stop(): void
}

/** Labels that the metrics use themselves. */
const TAKEN = [
  'candidate',
  'code',
  'direction',
  'layer',
  'le',
  'member',
  'model',
  'operation',
  'outcome',
  'state',
  'status',
]

/**
 * Counts the calls of a client or a stack for Prometheus, starting now. Requires no package. The
 * first 50 models have their own series; later ones are counted as `other`.
 *
 * @throws ConfigError (`CONFIG`) if the first argument is neither a client nor a stack, or an
 * option is invalid
 * @example
 * const metrics = prometheus(blossom, { labels: { service: 'garden' } })
 * app.get('/metrics', (c) => c.text(metrics.text(), 200, { 'content-type': metrics.contentType }))
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function prometheus(observed: Observed, options: PrometheusOptions = {}): PrometheusMetrics {
  const internals = internalsOf('prometheus', observed)
  const { labels = {} } = check<PrometheusOptions>('prometheus', options, {
    labels: rules.custom<NonNullable<PrometheusOptions['labels']>, undefined>(
      'an object of strings whose names have only letters, digits and "_", and tenant: true or false',
      undefined,
      areLabels,
    ),
  })
  const { tenant, ...constants } = labels
  for (const name of Object.keys(constants))
    if (TAKEN.includes(name))
      throw new ConfigError(`prometheus: the label "${name}" is reserved. Choose another name.`)
  const recorder = new Recorder(tenant === true)
  const families = [...recorder.families(), ...layerFamilies(() => internals[LAYERS]())]
  const stop = internals[LISTEN](recorder.onEvent)
  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: () => textOf(families, constants as Labels),
    register(registry) {
      for (const family of families) registry.registerMetric(metricOf(family, constants as Labels))
    },
    stop,
  }
}

function areLabels(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.entries(value).every(([name, label]) =>
    name === 'tenant'
      ? typeof label === 'boolean'
      : /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) && typeof label === 'string',
  )
}

/** A family as a metric of `prom-client`. */
function metricOf({ name, help, type, samples }: Family, constants: Labels): object {
  const value = ({ suffix, labels, value }: Sample) => ({
    metricName: `${name}${suffix ?? ''}`,
    labels: { ...constants, ...labels },
    value,
  })
  return {
    name,
    help,
    type,
    aggregator: 'sum',
    get: async () => ({ name, help, type, aggregator: 'sum', values: samples().map(value) }),
    // The counts cover the lifetime of the process, so a reset has no effect.
    reset: () => {},
  }
}
