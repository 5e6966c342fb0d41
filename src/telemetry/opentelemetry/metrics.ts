import type { Attributes, Counter, Histogram, Meter } from '@opentelemetry/api'
import type { EventUsage } from '../../core/index.js'
import { Names } from '../names.js'
import { type AskedAttributes, askedAttributes, put, type Semconv } from './attributes.js'

/** Bounds of the conventions, in seconds and tokens. */
const SECONDS = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
]
const TOKENS = [
  1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864,
]
/** Models with series of their own: callers choose their names. */
const MODELS = 50

/** What is measured. Without an operation it is no model's work, of which the conventions speak. */
interface Measured extends AskedAttributes {
  readonly responseModel?: string | undefined
  readonly code?: string | undefined
}

/**
 * The metrics of OpenTelemetry's conventions for generative AI.
 * @see https://github.com/open-telemetry/semantic-conventions-genai
 */
export class GenAiMetrics {
  readonly #semconv: Semconv
  readonly #models = new Names(MODELS)
  readonly #durations: readonly Histogram[]
  readonly #tokenUsage: Histogram | undefined
  readonly #firstChunk: Histogram | undefined
  readonly #perChunk: Histogram | undefined
  readonly #input: Counter | undefined
  readonly #output: Counter | undefined

  constructor(meter: Meter, semconv: Semconv) {
    this.#semconv = semconv
    const seconds = (name: string, description: string) =>
      meter.createHistogram(name, {
        description,
        unit: 's',
        advice: { explicitBucketBoundaries: SECONDS },
      })
    const durations: Histogram[] = []
    if (semconv !== 'current') {
      durations.push(seconds('gen_ai.client.operation.duration', 'Duration of calls.'))
      this.#tokenUsage = meter.createHistogram('gen_ai.client.token.usage', {
        description: 'Tokens of calls.',
        unit: '{token}',
        advice: { explicitBucketBoundaries: TOKENS },
      })
    }
    if (semconv !== 'previous') {
      const inference = 'gen_ai.client.inference'
      durations.push(seconds(`${inference}.duration`, 'Duration of calls.'))
      this.#firstChunk = seconds(
        `${inference}.time_to_first_chunk`,
        'From the beginning of a call to the first token of its stream.',
      )
      this.#perChunk = seconds(
        `${inference}.time_per_output_chunk`,
        'From one chunk of a stream to the next.',
      )
      const tokens = (name: string, description: string) =>
        meter.createCounter(`${inference}.usage.${name}`, { description, unit: '{token}' })
      this.#input = tokens('input_tokens', 'Tokens of input.')
      this.#output = tokens('output_tokens', 'Tokens of output.')
    }
    this.#durations = durations
  }

  /** A call has ended. */
  call(of: Measured, server: Attributes, durationMs: number, firstTokenMs: number | undefined) {
    if (of.operation === undefined) return
    const attributes = this.#attributes(of, server)
    for (const histogram of this.#durations) histogram.record(durationMs / 1_000, attributes)
    if (firstTokenMs !== undefined) this.#firstChunk?.record(firstTokenMs / 1_000, attributes)
  }

  /** An attempt has reported its tokens. */
  usage(of: Measured, server: Attributes, { input, output }: EventUsage): void {
    if (of.operation === undefined) return
    const attributes = this.#attributes(of, server)
    this.#input?.add(input, attributes)
    this.#output?.add(output, attributes)
    if (this.#tokenUsage === undefined) return
    this.#tokenUsage.record(input, { ...attributes, 'gen_ai.token.type': 'input' })
    this.#tokenUsage.record(output, { ...attributes, 'gen_ai.token.type': 'output' })
  }

  /** A chunk of a stream has come so long after the one before. */
  chunk(of: Measured, server: Attributes, afterMs: number): void {
    if (of.operation === undefined) return
    this.#perChunk?.record(afterMs / 1_000, this.#attributes(of, server))
  }

  #attributes({ operation, model, responseModel, code }: Measured, server: Attributes) {
    const named = model === undefined ? undefined : this.#models.of(model)
    return put(askedAttributes({ operation, model: named }, this.#semconv), {
      'gen_ai.response.model':
        responseModel === undefined ? undefined : this.#models.of(responseModel),
      'error.type': code,
      ...server,
    })
  }
}
