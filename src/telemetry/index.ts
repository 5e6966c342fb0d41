export type { Observed } from './observed.js'
export {
  type PromClientRegistry,
  type PrometheusMetrics,
  type PrometheusOptions,
  prometheus,
} from './prometheus/index.js'
