import { upstreamError } from '../../client/wire/upstream-error.js'
import {
  ConfigError,
  type Context,
  check,
  defineLayer,
  type Handler,
  isError,
  type Layer,
  rules,
  sleep,
  streamOf,
} from '../../core/index.js'
import { randomFrom } from '../random.js'
import { faultyStream, type StreamFault } from './faulty-stream.js'

/** A number, or a range from which to draw a number. */
export type Between = number | readonly [least: number, greatest: number]

/** Options of `chaos()`. */
export interface ChaosOptions<Name extends string = 'chaos'> {
  /** Share of calls that fail before they start. 0 to 1. @default 0 */
  failRate?: number | undefined
  /**
   * The error for these calls: an error, a list to draw from, or a function that creates one from
   * the call's number, which starts at 1.
   * @default an `UpstreamError` with status 503
   */
  error?: Error | readonly Error[] | ((call: number) => unknown) | undefined
  /** Share of calls that are answered with a 429. 0 to 1. @default 0 */
  rateLimitRate?: number | undefined
  /** The wait that a 429 asks for. Milliseconds. @default 1000 */
  retryAfterMs?: number | undefined
  /** Share of calls that neither answer nor fail until they are aborted. 0 to 1. @default 0 */
  hangRate?: number | undefined
  /** Delay before each call, including calls that fail. Milliseconds. @default 0 */
  delayMs?: Between | undefined
  /** Share of streams that break as if the connection was lost. 0 to 1. @default 0 */
  cutRate?: number | undefined
  /** Share of streams that go silent until their reader leaves or is aborted. 0 to 1. @default 0 */
  stallRate?: number | undefined
  /**
   * Number of chunks before a stream breaks or goes silent. A shorter stream does so at its end. 0
   * to 10000.
   * @default [1, 5]
   */
  afterChunks?: Between | undefined
  /** Delay before each chunk of a stream. Milliseconds. @default 0 */
  chunkDelayMs?: Between | undefined
  /**
   * Seed of the random faults, an integer. The same calls in the same order get the same faults.
   * @default 1
   */
  seed?: number | undefined
  /** The layer's name and its key in `stats()`. @default 'chaos' */
  name?: Name | undefined
}

/** Counters of `chaos()`. */
export interface ChaosStats {
  readonly calls: number
  readonly failed: number
  readonly rateLimited: number
  /** Calls that were left without an answer. */
  readonly hung: number
  /** Calls that were delayed before they started or failed. */
  readonly delayed: number
  /** Streams broken. A stream that its reader leaves before the break does not count. */
  readonly cut: number
  /** Streams that went silent. A stream that its reader leaves before that does not count. */
  readonly stalled: number
  /** Streams whose chunks were delayed. */
  readonly slowed: number
}

/**
 * Makes calls fail at random, to test a stack against an upstream that fails, is slow, breaks
 * streams or hangs. Place it innermost. Every fault is off until you give it a rate, and faults
 * depend only on `seed` and the order of calls. A call without a fault passes unchanged.
 *
 * @throws ConfigError (`CONFIG`) for an invalid option, or for rates of exclusive faults that add
 * up to more than 1
 * @example
 * const ask = stack(upstream, timeout({ ms: 2_000 }), retry(), chaos({ failRate: 0.2, hangRate: 0.05, cutRate: 0.1, delayMs: [10, 200] }))
 */
export function chaos<const Name extends string = 'chaos'>(
  options: ChaosOptions<Name> = {},
): Layer<Name, ChaosStats> {
  const settings = readOptions(options)
  const faults = new Chaos(settings)
  return defineLayer({
    name: settings.name,
    kind: 'chaos',
    wrap: (next) => (request, context) => faults.call(next, request, context),
    stats: () => ({ ...faults.stats }),
  })
}

type Settings = ReturnType<typeof readOptions>

class Chaos {
  readonly stats = {
    calls: 0,
    failed: 0,
    rateLimited: 0,
    hung: 0,
    delayed: 0,
    cut: 0,
    stalled: 0,
    slowed: 0,
  }
  readonly #settings: Settings
  readonly #seeds: () => number

  constructor(settings: Settings) {
    this.#settings = settings
    this.#seeds = randomFrom(settings.seed)
  }

  async call<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): Promise<Answer> {
    const call = ++this.stats.calls
    // Each call has its own random source. Otherwise its faults would depend on how calls overlap.
    const random = randomFrom(this.#seeds() * 2 ** 32)
    const drawn = random()
    const fault = this.#streamFault(random)
    const waitMs = draw(this.#settings.delayMs, random)
    if (waitMs > 0) {
      this.stats.delayed++
      await sleep(waitMs, context.cancel)
    }
    const { failRate, rateLimitRate, hangRate } = this.#settings
    if (drawn < failRate) throw this.#failure(call, random)
    if (drawn < failRate + rateLimitRate) throw this.#rateLimited()
    if (drawn < failRate + rateLimitRate + hangRate) return this.#hang(context)
    return this.#withFault(await next(request, context), fault, context)
  }

  #failure(call: number, random: () => number): unknown {
    this.stats.failed++
    const { error } = this.#settings
    if (error === undefined) return upstreamError({ upstreamStatus: 503, upstreamCode: 'CHAOS' })
    if (typeof error === 'function') return error(call)
    return Array.isArray(error) ? error[Math.floor(random() * error.length)] : error
  }

  #rateLimited(): Error {
    this.stats.rateLimited++
    return upstreamError({
      upstreamStatus: 429,
      upstreamCode: 'CHAOS',
      retryAfter: this.#settings.retryAfterMs,
    })
  }

  #hang({ cancel }: Context): Promise<never> {
    this.stats.hung++
    return new Promise((_, reject) => cancel.add({ abort: reject }))
  }

  #streamFault(random: () => number): StreamFault {
    const { cutRate, stallRate, afterChunks, chunkDelayMs } = this.#settings
    const drawn = random()
    const kind = drawn < cutRate ? 'cut' : drawn < cutRate + stallRate ? 'stall' : undefined
    return {
      kind,
      afterChunks: Math.round(draw(afterChunks, random)),
      chunkDelayMs: () => draw(chunkDelayMs, random),
      happened: () => void this.stats[kind === 'cut' ? 'cut' : 'stalled']++,
    }
  }

  #withFault<Answer>(answer: Answer, fault: StreamFault, context: Context): Answer {
    const isSlow = draw(this.#settings.chunkDelayMs, () => 1) > 0
    const stream = fault.kind === undefined && !isSlow ? undefined : streamOf(answer)
    if (stream === undefined) return answer
    if (isSlow) this.stats.slowed++
    return faultyStream(stream, fault, context) as Answer
  }
}

function readOptions<Name extends string>(options: ChaosOptions<Name>) {
  const checked = check('chaos', options, {
    failRate: rate(),
    error: rules.custom<NonNullable<ChaosOptions['error']>, undefined>(
      'an Error, a list of them, or a function',
      undefined,
      isErrorOption,
    ),
    rateLimitRate: rate(),
    retryAfterMs: rules.duration(1_000, { min: 0 }),
    hangRate: rate(),
    delayMs: between(rules.duration(0, { min: 0 })),
    cutRate: rate(),
    stallRate: rate(),
    afterChunks: between(rules.integer(0, { min: 0, max: 10_000 }), [1, 5]),
    chunkDelayMs: between(rules.duration(0, { min: 0 })),
    seed: rules.integer(1, {}),
    name: rules.layerName<Name>('chaos'),
  })
  const { failRate, rateLimitRate, hangRate, cutRate, stallRate } = checked
  atMostOne('failRate, rateLimitRate and hangRate', failRate + rateLimitRate + hangRate)
  atMostOne('cutRate and stallRate', cutRate + stallRate)
  return checked
}

const rate = () => rules.number(0, { min: 0, max: 1 })

function between(one: rules.Rule<number>, fallback: Between = one.fallback): rules.Rule<Between> {
  const isRange = (value: unknown) =>
    Array.isArray(value) && value.length === 2 && value.every(one.accepts) && value[0] <= value[1]
  return rules.custom(
    `${one.expected}, or a range [min, max]`,
    fallback,
    (value) => one.accepts(value) || isRange(value),
  )
}

function isErrorOption(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0 && value.every(isError)
  return isError(value) || typeof value === 'function'
}

function atMostOne(what: string, sum: number): void {
  // Tolerance: 0.1 + 0.2 + 0.7 is slightly above 1.
  if (sum > 1 + 1e-9)
    throw new ConfigError(
      `chaos: ${what} are mutually exclusive, so their sum must be at most 1.`,
      { layer: 'chaos' },
    )
}

function draw(of: Between, random: () => number): number {
  return typeof of === 'number' ? of : of[0] + random() * (of[1] - of[0])
}
