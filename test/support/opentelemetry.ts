import { context, metrics, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'

/** Collects when it is asked. */
class Reader extends MetricReader {
  protected async onForceFlush(): Promise<void> {}
  protected async onShutdown(): Promise<void> {}
}

/** One series of a metric. */
export interface Measured {
  readonly name: string
  readonly unit: string
  readonly attributes: Readonly<Record<string, unknown>>
  /** Of a counter. */
  readonly value?: number
  /** Of a histogram. */
  readonly count?: number
  readonly sum?: number
}

/** OpenTelemetry's SDK with everything in memory, registered for the process until `stop()`. */
export function startSdk() {
  const exporter = new InMemorySpanExporter()
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const reader = new Reader()
  const meters = new MeterProvider({ readers: [reader] })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  trace.setGlobalTracerProvider(tracers)
  metrics.setGlobalMeterProvider(meters)
  return {
    tracers,
    meters,
    /** Spans that have ended, in that order. */
    spans: (): readonly ReadableSpan[] => exporter.getFinishedSpans(),
    forget: () => exporter.reset(),
    async measured(): Promise<Measured[]> {
      const { resourceMetrics } = await reader.collect()
      return resourceMetrics.scopeMetrics.flatMap(({ metrics: all }) =>
        all.flatMap(({ descriptor: { name, unit }, dataPoints }) =>
          (dataPoints as { attributes: object; value: unknown }[]).map(({ attributes, value }) => ({
            name,
            unit,
            attributes: attributes as Record<string, unknown>,
            ...(typeof value === 'number' ? { value } : (value as { count: number; sum: number })),
          })),
        ),
      )
    },
    async stop(): Promise<void> {
      await tracers.shutdown()
      await meters.shutdown()
      context.disable()
      trace.disable()
      metrics.disable()
    },
  }
}

export type Sdk = ReturnType<typeof startSdk>

/** The span with this name among others; it is an error if there is none, or more than one. */
export function spanNamed(spans: readonly ReadableSpan[], name: string): ReadableSpan {
  const found = spans.filter((span) => span.name === name)
  if (found.length !== 1 || found[0] === undefined)
    throw new Error(`${found.length} of ${spans.map((span) => span.name).join(', ')} are ${name}.`)
  return found[0]
}

export const childrenOf = (spans: readonly ReadableSpan[], parent: ReadableSpan) =>
  spans.filter((span) => span.parentSpanContext?.spanId === parent.spanContext().spanId)

export const eventsOf = ({ events }: ReadableSpan) => events.map(({ name }) => name)
