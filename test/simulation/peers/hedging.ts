import { AdaptiveHedgeDelay, llmRetry } from 'llm-retry-kit'
import { now, stack } from '../../../src/core/index.js'
import { hedge } from '../../../src/layers/hedge/index.js'
import { Callers } from '../callers.js'
import { DISTRIBUTIONS } from '../upstream.js'
import { simulated, type World } from './world.js'

/** What a call asks: plain data, by which it can be told from others. */
interface Question {
  readonly number: number
}

type Answer = (question: Question, options: { readonly signal: AbortSignal }) => Promise<Question>
type Call = (question: Question) => Promise<unknown>

/** One upstream and another, of which some answers take ten times as long. */
class Pair {
  requests = 0
  /** How many times longer than usual all answers take. */
  slowness = 1
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  readonly answer: Answer = (question, { signal }) => {
    this.requests++
    const isOdd = this.#random() < 1 / 50
    const ms = DISTRIBUTIONS.lognormal(1_000, this.#random) * (isOdd ? 10 : 1) * this.slowness
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => resolve(question), ms)
      const stop = () => {
        clearTimeout(timer)
        reject(signal.reason)
      }
      signal.addEventListener('abort', stop, { once: true })
    })
  }
}

/** As one writes it in a minute. */
async function raced(answer: Answer, question: Question, delayMs: number): Promise<Question> {
  const controller = new AbortController()
  const first = answer(question, controller)
  let timer: ReturnType<typeof setTimeout> | undefined
  const second = new Promise<Question>((resolve, reject) => {
    timer = setTimeout(() => answer(question, controller).then(resolve, reject), delayMs)
  })
  second.catch(() => {})
  first.catch(() => {})
  try {
    return await Promise.any([first, second])
  } finally {
    clearTimeout(timer)
    controller.abort()
  }
}

function withKit(
  answer: Answer,
  hedging: Pick<Parameters<typeof llmRetry>[0], 'hedgeDelayMs' | 'hedgeDelayStrategy'>,
): Call {
  return (question) => {
    const fn = async (context: { signal?: AbortSignal }) => ({
      data: await answer(question, { signal: context.signal as AbortSignal }),
    })
    const providers = [
      { name: 'first', fn },
      { name: 'second', fn },
    ]
    return llmRetry({ providers, maxRetries: 0, ...hedging })
  }
}

/** Those who ask a second time when the first answer is late, by their names in the table. */
export const hedgers: Readonly<Record<string, (answer: Answer) => Call>> = {
  'no second request': (answer) => stack(answer),
  '**`hedge`**': (answer) => stack(answer, hedge({ to: [stack(answer)] })),
  '**`hedge`**, `budget: false`': (answer) =>
    stack(answer, hedge({ to: [stack(answer)], budget: false })),
  '`llmRetry`, `AdaptiveHedgeDelay`': (answer) =>
    withKit(answer, { hedgeDelayStrategy: new AdaptiveHedgeDelay() }),
  '`llmRetry`, `hedgeDelayMs: 2000`': (answer) => withKit(answer, { hedgeDelayMs: 2_000 }),
  'by hand, after 2 s': (answer) => (question) => raced(answer, question, 2_000),
}

function quantile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b)
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN
}

/** Five calls a second for twenty minutes. What they took, and what they asked for beside. */
async function run({ clock, random }: World, pair: Pair, call: Call) {
  const times: number[] = []
  const before = pair.requests
  let number = 0
  let calls = 0
  const ask = async () => {
    calls++
    const since = now()
    await call({ number: number++ })
    times.push(now() - since)
  }
  const callers = new Callers(ask).come(5, random)
  await clock.advance(20 * 60_000)
  callers.stop()
  await clock.advance(10 * 60_000)
  return {
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    extra: (pair.requests - before) / calls - 1,
  }
}

/** What second tries bring while upstream is well, and what they cost when all of it is slow. */
export const hedgingFigures = (name: string) =>
  simulated(async (world) => {
    const pair = new Pair(world.random)
    const call = (hedgers[name] as (answer: Answer) => Call)(pair.answer)
    await run(world, pair, call)
    const well = await run(world, pair, call)
    pair.slowness = 5
    return { well, slow: await run(world, pair, call) }
  })
