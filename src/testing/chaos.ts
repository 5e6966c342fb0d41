import { NetworkError, StreamError } from '../client/errors.js'
import { textOf } from '../client/wire/completion.js'
import { upstreamError } from '../client/wire/upstream-error.js'
import {
  ConfigError,
  type Context,
  check,
  defineLayer,
  type Layer,
  type Log,
  rules,
  Stream,
  type StreamSource,
  sleep,
  streamOf,
  Timer,
} from '../core/index.js'

/** A number, or the least and the greatest of a range to draw it from. */
export type Between = number | readonly [least: number, greatest: number]

/** Options of `chaos()`. */
export interface ChaosOptions<Name extends string = 'chaos'> {
  /** Share of the calls that fail before they start. 0 to 1. @default 0 */
  failRate?: number | undefined
  /**
   * What they fail with: an error, several to draw from, or a function that makes one for the call
   * of this number, from 1.
   * @default an `UpstreamError` with status 503
   */
  error?: Error | readonly Error[] | ((call: number) => unknown) | undefined
  /** Share of the calls that are answered with a 429. 0 to 1. @default 0 */
  rateLimitRate?: number | undefined
  /** The wait that a 429 asks for. Milliseconds. @default 1000 */
  retryAfterMs?: number | undefined
  /** Share of the calls that neither answer nor fail until they are aborted. 0 to 1. @default 0 */
  hangRate?: number | undefined
  /** Wait before each call, those that fail included. Milliseconds. @default 0 */
  delayMs?: Between | undefined
  /** Share of the streams that break as by a lost connection. 0 to 1. @default 0 */
  cutRate?: number | undefined
  /**
   * Share of the streams that fall silent until their reader leaves or is aborted. 0 to 1.
   * @default 0
   */
  stallRate?: number | undefined
  /**
   * Chunks of a stream before it breaks or falls silent; a shorter one does so in place of its end.
   * 0 to 10000.
   * @default [1, 5]
   */
  afterChunks?: Between | undefined
  /** Wait before each chunk of a stream. Milliseconds. @default 0 */
  chunkDelayMs?: Between | undefined
  /**
   * An integer. With the same one the same calls in the same order meet the same faults.
   * @default 1
   */
  seed?: number | undefined
  /** Key in `stats()`. @default 'chaos' */
  name?: Name | undefined
}

/** What `chaos()` has done so far. */
export interface ChaosStats {
  readonly calls: number
  readonly failed: number
  readonly rateLimited: number
  /** Calls that were left without an answer. */
  readonly hung: number
  /** Calls that had to wait before they began or failed. */
  readonly delayed: number
  /** Streams broken so far; one that is left before its break does not count. */
  readonly cut: number
  /** Streams silenced so far; one that is left before its silence does not count. */
  readonly stalled: number
  /** Streams whose chunks were held back. */
  readonly slowed: number
}

/** What is to become of a stream. */
interface StreamFate {
  readonly fault: 'cut' | 'stall' | undefined
  readonly afterChunks: number
  chunkDelayMs(): number
  happened(): void
}

/**
 * Spoils calls at random, so that a stack can be tried against an upstream that fails, is slow,
 * breaks off or hangs. Put it innermost, where upstream is; a call that it lets through goes on
 * unchanged. All faults are off until they are given a rate, and follow from `seed`.
 *
 * @throws ConfigError for a wrong option, or rates that exclude each other and come to more than 1
 * @example
 * const ask = stack(upstream, timeout({ ms: 2_000 }), retry(), chaos({ failRate: 0.2, hangRate: 0.05, cutRate: 0.1, delayMs: [10, 200] }))
 */
export function chaos<const Name extends string = 'chaos'>(
  options: ChaosOptions<Name> = {},
): Layer<Name, ChaosStats> {
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
  const {
    failRate,
    error,
    rateLimitRate,
    retryAfterMs,
    hangRate,
    delayMs,
    cutRate,
    stallRate,
    afterChunks,
    chunkDelayMs,
    name,
  } = checked
  atMostOne('failRate, rateLimitRate and hangRate', failRate + rateLimitRate + hangRate)
  atMostOne('cutRate and stallRate', cutRate + stallRate)
  const seeds = randomFrom(checked.seed)
  const stats = {
    calls: 0,
    failed: 0,
    rateLimited: 0,
    hung: 0,
    delayed: 0,
    cut: 0,
    stalled: 0,
    slowed: 0,
  }

  const failureOf = (call: number, random: () => number): unknown => {
    if (error === undefined) return upstreamError({ upstreamStatus: 503, upstreamCode: 'CHAOS' })
    if (typeof error === 'function') return error(call)
    return Array.isArray(error) ? error[Math.floor(random() * error.length)] : error
  }

  const streamFate = (random: () => number): StreamFate => {
    const drawn = random()
    const fault = drawn < cutRate ? 'cut' : drawn < cutRate + stallRate ? 'stall' : undefined
    return {
      fault,
      afterChunks: Math.round(draw(afterChunks, random)),
      chunkDelayMs: () => draw(chunkDelayMs, random),
      happened: () => void stats[fault === 'cut' ? 'cut' : 'stalled']++,
    }
  }

  return defineLayer({
    name,
    kind: 'chaos',
    wrap: (next) => async (request, context) => {
      const call = ++stats.calls
      // Each call draws from a source of its own, or its faults would depend on how calls overlap.
      const random = randomFrom(seeds() * 2 ** 32)
      const drawn = random()
      const fate = streamFate(random)
      const waitMs = draw(delayMs, random)
      if (waitMs > 0) {
        stats.delayed++
        await sleep(waitMs, context.cancel)
      }
      if (drawn < failRate) {
        stats.failed++
        throw failureOf(call, random)
      }
      if (drawn < failRate + rateLimitRate) {
        stats.rateLimited++
        throw upstreamError({
          upstreamStatus: 429,
          upstreamCode: 'CHAOS',
          retryAfter: retryAfterMs,
        })
      }
      if (drawn < failRate + rateLimitRate + hangRate) {
        stats.hung++
        return new Promise((_, reject) => context.cancel.add({ abort: reject }))
      }
      const answer = await next(request, context)
      const isSlow = draw(chunkDelayMs, () => 1) > 0
      const stream = fate.fault === undefined && !isSlow ? undefined : streamOf(answer)
      if (stream === undefined) return answer
      if (isSlow) stats.slowed++
      return spoiled(stream, fate, context) as typeof answer
    },
    stats: () => ({ ...stats }),
  })
}

/** The stream with its fate: chunk by chunk as its reader asks, so that nothing is read ahead. */
function spoiled(source: Stream<unknown>, fate: StreamFate, context: Context): Stream<unknown> {
  const { cancel, base } = context
  const spoiling = new SpoiledSource(source, fate)
  const stream = Stream.over<unknown>(spoiling, {
    cancel,
    unreadMs: base.unreadMs,
    committed: true,
  })
  spoiling.log = stream.log
  return stream
}

class SpoiledSource implements StreamSource {
  log: Log<unknown> | undefined
  readonly #source: Stream<unknown>
  readonly #fate: StreamFate
  readonly #delivered: unknown[] = []
  #taken = 0
  #isPulling = false
  #timer: Timer | undefined

  constructor(source: Stream<unknown>, fate: StreamFate) {
    this.#source = source
    this.#fate = fate
  }

  pull(): void {
    if (this.#isPulling) return
    this.#isPulling = true
    const { fault, afterChunks } = this.#fate
    if (fault !== undefined && this.#taken === afterChunks) return this.#strike(fault)
    this.#source.next().then(
      (result) => {
        if (result.done) this.#sourceEnded()
        else this.#take(result.value)
      },
      (error) => this.log?.fail(error),
    )
  }

  stop(): void {
    this.#timer?.stop()
    this.#source.leave()
  }

  #take(chunk: unknown): void {
    this.#taken++
    const delayMs = this.#fate.chunkDelayMs()
    if (delayMs > 0) this.#timer = new Timer(delayMs, () => this.#deliver(chunk))
    else this.#deliver(chunk)
  }

  #deliver(chunk: unknown): void {
    this.#timer = undefined
    this.#isPulling = false
    const { fault } = this.#fate
    if (fault === 'cut') this.#delivered.push(chunk)
    this.log?.append(chunk)
    // The end comes with the last chunk: a reader who counts need not ask once more.
    const { ended } = this.#source
    if (fault === undefined && ended?.outcome === 'complete') this.log?.end(ended)
    else this.log?.flush()
  }

  #sourceEnded(): void {
    if (this.#fate.fault === undefined) this.log?.end(this.#source.ended)
    else this.#strike(this.#fate.fault)
  }

  /** Does what is due in place of a chunk or the end. */
  #strike(fault: 'cut' | 'stall'): void {
    this.#fate.happened()
    if (fault === 'stall') return
    this.#source.leave()
    const cause = new NetworkError('The connection was cut by the chaos layer.')
    const sentence = 'The stream broke after it had begun: the connection was lost.'
    const text = this.#delivered.map(textOf).join('')
    this.log?.fail(new StreamError(sentence, { cause, text, chunks: this.#delivered }))
  }
}

const rate = () => rules.number(0, { min: 0, max: 1 })

function between(one: rules.Rule<number>, fallback: Between = one.fallback): rules.Rule<Between> {
  const isRange = (value: unknown) =>
    Array.isArray(value) && value.length === 2 && value.every(one.accepts) && value[0] <= value[1]
  return rules.custom(
    `${one.expected}, or [least, greatest] of such`,
    fallback,
    (value) => one.accepts(value) || isRange(value),
  )
}

function isErrorOption(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0 && value.every((one) => one instanceof Error)
  return value instanceof Error || typeof value === 'function'
}

function atMostOne(what: string, sum: number): void {
  // Rates such as 0.1 + 0.2 + 0.7 come to a little more than they say.
  if (sum > 1 + 1e-9)
    throw new ConfigError(
      `chaos: ${what} exclude each other and must come to at most 1 together.`,
      { layer: 'chaos' },
    )
}

function draw(of: Between, random: () => number): number {
  return typeof of === 'number' ? of : of[0] + random() * (of[1] - of[0])
}

/**
 * mulberry32: a small source of numbers from 0 to below 1 that is the same everywhere.
 * https://gist.github.com/tommyettinger/46a874533244883189143505d203312c
 */
function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
