import type { Meter, Tracer } from '@opentelemetry/api'
import { VERSION } from '../../client/version.js'
import { carriers, check, LISTEN, onEvent, rules } from '../../core/index.js'
import { internalsOf, type Observed } from '../observed.js'
import { loadApi } from './api.js'
import type { Semconv } from './attributes.js'
import { GenAiMetrics } from './metrics.js'
import { Tracing } from './tracing.js'

/** A tracer of `@opentelemetry/api`. */
export interface TracerLike {
  /** Starts a span. */
  startSpan(name: string, options?: object, context?: object): object
}

/** A meter of `@opentelemetry/api`. */
export interface MeterLike {
  /** Creates a histogram. */
  createHistogram(name: string, options?: object): object
  /** Creates a counter. */
  createCounter(name: string, options?: object): object
}

/** Options of `instrument()`. */
export interface InstrumentOptions {
  /** Tracer that creates the spans. @default the global one, even if its SDK is registered later */
  tracer?: TracerLike | undefined
  /** Meter that creates the metrics. @default the global one, as it is when `instrument()` is called */
  meter?: MeterLike | undefined
  /**
   * Version of OpenTelemetry's naming conventions: the `current` one of 2026, the `previous` one,
   * or `both`.
   * @default metrics 'both', spans 'current'
   */
  semconv?: 'current' | 'previous' | 'both' | undefined
  /** Whether spans contain prompts and answers. @default false */
  captureContent?: boolean | undefined
  /** Whether the header `traceparent` is sent to upstream. @default false */
  propagate?: boolean | undefined
}

/**
 * Records OpenTelemetry spans and metrics for the calls of a client or a stack, or with `'all'` for
 * all clients and stacks of this process, including later ones. Returns a function that stops it.
 *
 * Each call is a span in the caller's trace; each request to upstream is a child span. Requires the
 * package `@opentelemetry/api`, version 1.9 or later, and a started SDK.
 *
 * @throws ConfigError (`CONFIG`) if the package is missing, or an argument or option is invalid
 * @example const stop = instrument(blossom)
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 */
export function instrument(
  observed: Observed | 'all',
  options: InstrumentOptions = {},
): () => void {
  const checked = check<InstrumentOptions>('instrument', options, {
    tracer: withMethods<TracerLike>('a tracer', 'startSpan'),
    meter: withMethods<MeterLike>('a meter', 'createHistogram', 'createCounter'),
    semconv: rules.oneOf<Semconv, undefined>(['current', 'previous', 'both'], undefined),
    captureContent: rules.flag(false),
    propagate: rules.flag(false),
  })
  const internals = observed === 'all' ? undefined : internalsOf('instrument', observed)
  const api = loadApi()
  const { tracer, meter, semconv, captureContent = false, propagate = false } = checked
  const tracing = new Tracing({
    api,
    tracer: (tracer as Tracer | undefined) ?? api.trace.getTracer('blossom-stack', VERSION),
    metrics: new GenAiMetrics(
      (meter as Meter | undefined) ?? api.metrics.getMeter('blossom-stack', VERSION),
      semconv ?? 'both',
    ),
    semconv: semconv ?? 'current',
    captureContent,
    propagate,
  })
  carriers.add(tracing)
  const unlisten =
    internals === undefined ? onEvent(tracing.onEvent) : internals[LISTEN](tracing.onEvent)
  return () => {
    unlisten()
    carriers.delete(tracing)
    tracing.stop()
  }
}

const withMethods = <T extends object>(what: string, ...methods: (keyof T)[]) =>
  rules.custom<T, undefined>(`${what} of @opentelemetry/api`, undefined, (value) =>
    methods.every((method) => typeof (value as T | null)?.[method] === 'function'),
  )
