export type { Observed } from './observed.js'
export {
  type InstrumentOptions,
  instrument,
  type MeterLike,
  type TracerLike,
} from './opentelemetry/index.js'
export {
  type PromClientRegistry,
  type PrometheusMetrics,
  type PrometheusOptions,
  prometheus,
} from './prometheus/index.js'
