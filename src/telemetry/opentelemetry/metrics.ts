import type { Attributes, Counter, Histogram, Meter } from '@opentelemetry/api'
import type { EventUsage } from '../../core/index.js'
import { Names } from '../names.js'
import {
  type AskedAttributes,
  askedAttributes,
  put,
  type Semconv,
  type Server,
} from './attributes.js'

/** Bucket bounds of the conventions, in seconds and in tokens. */
const SECONDS = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
]
const TOKENS = [
  1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
]
/** Maximum number of models with their own series, because callers choose the names. */
const MODELS = 50

/** A measured call. Without an operation it calls no model, so the conventions do not apply. */
interface Measured extends AskedAttributes {
  readonly responseModel?: string | undefined
  readonly code?: string | undefined
}

/** Attributes of one series, in both versions of the conventions. */
interface Series {
  readonly current: Attributes
  readonly previous: Attributes
  readonly previousInput: Attributes
  readonly previousOutput: Attributes
}

/** Maximum number of cached series: building the attributes costs as much as recording a value. */
const SERIES_KEPT = 1_000

/**
 * The metrics of OpenTelemetry's conventions for generative AI.
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 */
export class GenAiMetrics {
  readonly #models = new Names(MODELS)
  readonly #series = new Map<string, Series>()
  readonly #previous: Previous | undefined
  readonly #current: Current | undefined

  constructor(meter: Meter, semconv: Semconv) {
    this.#previous = semconv === 'current' ? undefined : previousOf(meter)
    this.#current = semconv === 'previous' ? undefined : currentOf(meter)
  }

  /** Records the end of a call. */
  call(
    of: Measured,
    server: Server | undefined,
    durationMs: number,
    firstTokenMs: number | undefined,
  ): void {
    if (of.operation === undefined) return
    const { current, previous } = this.#seriesOf(of, server)
    this.#previous?.duration.record(durationMs / 1_000, previous)
    this.#current?.duration.record(durationMs / 1_000, current)
    if (firstTokenMs !== undefined) this.#current?.firstChunk.record(firstTokenMs / 1_000, current)
  }

  /** Records the tokens of an attempt. */
  usage(of: Measured, server: Server | undefined, { input, output }: EventUsage): void {
    if (of.operation === undefined) return
    const { current, previousInput, previousOutput } = this.#seriesOf(of, server)
    this.#current?.input.add(input, current)
    this.#current?.output.add(output, current)
    this.#previous?.tokens.record(input, previousInput)
    this.#previous?.tokens.record(output, previousOutput)
  }

  /** Records the time between two chunks of a stream. */
  chunk(of: Measured, server: Server | undefined, afterMs: number): void {
    if (of.operation === undefined || this.#current === undefined) return
    this.#current.perChunk.record(afterMs / 1_000, this.#seriesOf(of, server).current)
  }

  #seriesOf(of: Measured, server: Server | undefined): Series {
    const { operation, code = '' } = of
    const model = this.#models.of(of.model)
    const responseModel = this.#models.of(of.responseModel)
    const key = `${operation} ${code} ${server?.origin ?? ''} ${JSON.stringify(model)}${responseModel}`
    let series = this.#series.get(key)
    if (series === undefined) {
      series = seriesOf({ operation, model, responseModel, code }, server)
      if (this.#series.size < SERIES_KEPT) this.#series.set(key, series)
    }
    return series
  }
}

function seriesOf(of: Measured, server: Server | undefined): Series {
  const attributes = (semconv: Semconv) =>
    put(askedAttributes({ operation: of.operation, model: of.model || undefined }, semconv), {
      'gen_ai.response.model': of.responseModel || undefined,
      'error.type': of.code || undefined,
      ...server?.attributes,
    })
  const previous = attributes('previous')
  return {
    current: attributes('current'),
    previous,
    previousInput: { ...previous, 'gen_ai.token.type': 'input' },
    previousOutput: { ...previous, 'gen_ai.token.type': 'output' },
  }
}

interface Previous {
  readonly duration: Histogram
  readonly tokens: Histogram
}

function previousOf(meter: Meter): Previous {
  return {
    duration: seconds(meter, 'gen_ai.client.operation.duration', 'Duration of calls.'),
    tokens: meter.createHistogram('gen_ai.client.token.usage', {
      description: 'Tokens of calls.',
      unit: '{token}',
      advice: { explicitBucketBoundaries: TOKENS },
    }),
  }
}

interface Current {
  readonly duration: Histogram
  readonly firstChunk: Histogram
  readonly perChunk: Histogram
  readonly input: Counter
  readonly output: Counter
}

function currentOf(meter: Meter): Current {
  const inference = 'gen_ai.client.inference'
  const tokens = (name: string, description: string) =>
    meter.createCounter(`${inference}.usage.${name}`, { description, unit: '{token}' })
  return {
    duration: seconds(meter, `${inference}.duration`, 'Duration of calls.'),
    firstChunk: seconds(
      meter,
      `${inference}.time_to_first_chunk`,
      'From the beginning of a call to the first token of its stream.',
    ),
    perChunk: seconds(
      meter,
      `${inference}.time_per_output_chunk`,
      'From one chunk of a stream to the next.',
    ),
    input: tokens('input_tokens', 'Tokens of input.'),
    output: tokens('output_tokens', 'Tokens of output.'),
  }
}

const seconds = (meter: Meter, name: string, description: string): Histogram =>
  meter.createHistogram(name, {
    description,
    unit: 's',
    advice: { explicitBucketBoundaries: SECONDS },
  })
