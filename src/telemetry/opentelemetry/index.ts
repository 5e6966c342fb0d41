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
  /** Makes a histogram. */
  createHistogram(name: string, options?: object): object
  /** Makes a counter. */
  createCounter(name: string, options?: object): object
}

/** Options of `instrument()`. */
export interface InstrumentOptions {
  /** Makes the spans. @default the global one, also if an SDK is registered later */
  tracer?: TracerLike | undefined
  /** Makes the metrics. @default the global one, as it is when `instrument()` is called */
  meter?: MeterLike | undefined
  /**
   * Which of OpenTelemetry's conventions names are of: the `current` ones of 2026, those from before
   * (`previous`), or `both`.
   * @default metrics of both, spans of the current ones
   */
  semconv?: 'current' | 'previous' | 'both' | undefined
  /** Whether spans hold prompts and answers. @default false */
  captureContent?: boolean | undefined
  /** Whether upstream gets the header `traceparent`. @default false */
  propagate?: boolean | undefined
}

/**
 * Makes OpenTelemetry spans and metrics of the calls of a client or a stack, or with `'all'` of all
 * in this process, those to come as well. Returns a function that stops it.
 *
 * A call is one span, whose parent is the caller's; each request to upstream is a child of it. Needs
 * the package `@opentelemetry/api`, 1.9 or later, and an SDK that is started before.
 *
 * @throws ConfigError when the package is missing, the first argument is none of these, or an option
 * is wrong
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
  const unlisten = internals === undefined ? onEvent(tracing.hear) : internals[LISTEN](tracing.hear)
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
