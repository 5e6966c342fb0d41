import { base, type Context, now, sleep, stack, Timer } from '../../src/core/index.js'
import { type HedgeOptions, hedge } from '../../src/layers/hedge/index.js'
import type { FakeClock } from '../../src/testing/fake-clock.js'
import { randomFrom } from '../../src/testing/random.js'
import { type Distribution, SimulatedUpstream } from './upstream.js'

const MEAN_MS = 1_000

export interface HedgedOptions {
  distribution: Distribution
  /** Calls that come by themselves, on average. */
  perSecond: number
  seconds: number
  seed: number
  /** None: without `hedge()`. */
  hedge?: HedgeOptions | undefined
  /** Whether answers are streams. */
  streams?: boolean
  /** Servers of the upstream. @default more than are ever used */
  capacity?: number
  /** How long `distribution` is on average, from so many seconds on. */
  slow?: { readonly from: number; readonly meanMs: number } | undefined
}

/** One call that has been answered. */
interface Heard {
  /** When it came. Milliseconds from the start. */
  readonly at: number
  /** How long its answer took, of a stream the first token. Milliseconds. */
  readonly ms: number
  /** The numbers of the tries that its answer is of. */
  readonly tries: ReadonlySet<number>
}

/** What upstream has been asked. */
interface Try {
  readonly at: number
  readonly isSecond: boolean
}

interface Ask {
  readonly id: number
}

/** Lets calls come to an upstream, with or without a second try for the slow ones. */
export async function hedgedCalls(clock: FakeClock, options: HedgedOptions) {
  const { distribution, seconds, seed, streams = false, capacity = 10_000, slow } = options
  const random = randomFrom(seed)
  const upstream = new SimulatedUpstream({
    capacity,
    excess: 'queues',
    meanMs: MEAN_MS,
    distribution,
    random: randomFrom(seed + 1_000),
  })
  const start = now()
  const tries: Try[] = []
  const begin = async (context: Context) => {
    const number = tries.push({ at: now() - start, isSecond: context.optional })
    await upstream.answer({}, context)
    return number
  }
  async function* stream(_: Ask, context: Context) {
    const number = await begin(context)
    for (let i = 0; i < 3; i++) {
      yield number
      await sleep(200, context.cancel)
    }
  }
  const whole = async (_: Ask, context: Context): Promise<unknown> => begin(context)
  const ask = stack(
    base(streams ? stream : whole, { streams: () => streams }) as typeof whole,
    ...(options.hedge === undefined ? [] : [hedge(options.hedge)]),
  )
  const heard: Heard[] = []
  const once = async (id: number) => {
    const since = now()
    const answer = await ask({ id })
    const ms = now() - since
    heard.push({ at: since - start, ms, tries: await triesOf(answer) })
  }
  let calls = 0
  const come = () => {
    void once(calls++)
    const gap = 1 + Math.floor((-Math.log(1 - random()) * 1_000) / options.perSecond)
    if (now() + gap - start < seconds * 1_000) new Timer(gap, come)
  }
  come()
  if (slow !== undefined) {
    await clock.advance(slow.from * 1_000)
    upstream.meanMs = slow.meanMs
  }
  await clock.advance((seconds + 300) * 1_000)
  return { heard, tries, calls, upstream, stats: ask.stats() }
}

async function triesOf(answer: unknown): Promise<ReadonlySet<number>> {
  if (typeof answer === 'number') return new Set([answer])
  const tries = new Set<number>()
  for await (const number of answer as AsyncIterable<number>) tries.add(number)
  return tries
}
