import Bottleneck from 'bottleneck'
import { RateLimiterMemory, RateLimiterQueue } from 'rate-limiter-flexible'
import { base, now, stack } from '../../../src/core/index.js'
import { type RateLimitOptions, rateLimit } from '../../../src/layers/rate-limit/index.js'
import { simulated, type World } from './world.js'

/** Of each minute. */
const REQUESTS = 60
const TOKENS = 10_000
const MINUTE = 60_000

/** Runs work as soon as its limits allow it, or rejects. It is worth so many tokens. */
export type Limited = (work: () => Promise<void>, tokens: number) => Promise<unknown>

interface Asked {
  readonly tokens: number
  readonly work: () => Promise<void>
}

const usage = ({ tokens }: Pick<Asked, 'tokens'>) => ({ input: tokens, output: 0 })

const ours = (options: RateLimitOptions): Limited => {
  const ask = stack(
    base(({ work }: Asked) => work(), { weigh: usage }),
    rateLimit({ by: 'all', maxWaitMs: 3_600_000, ...options }),
  )
  return (work, tokens) => ask({ work, tokens })
}

const flexible = (points: number, options: { execEvenly?: boolean } = {}) =>
  new RateLimiterMemory({ points, duration: MINUTE / 1_000, ...options })

const refilled = (amount: number, options: Bottleneck.ConstructorOptions = {}) =>
  new Bottleneck({
    reservoir: amount,
    reservoirRefreshAmount: amount,
    reservoirRefreshInterval: MINUTE,
    ...options,
  })

/** Those who limit requests alone. */
export const limiters: Readonly<Record<string, () => Limited>> = {
  "**`rateLimit`**, `mode: 'wait'`": () => ours({ requests: REQUESTS }),
  "**`rateLimit`**, `mode: 'reject'`": () => ours({ requests: REQUESTS, mode: 'reject' }),
  '`RateLimiterMemory`': () => {
    const limiter = flexible(REQUESTS)
    return (work) => limiter.consume('all').then(work)
  },
  '`RateLimiterMemory`, `execEvenly`': () => {
    const limiter = flexible(REQUESTS, { execEvenly: true })
    return (work) => limiter.consume('all').then(work)
  },
  '`RateLimiterQueue`': () => {
    const limiter = new RateLimiterQueue(flexible(REQUESTS))
    return (work) => limiter.removeTokens(1).then(work)
  },
  '`Bottleneck`, `reservoir` refilled each minute': () => {
    const limiter = refilled(REQUESTS)
    return (work) => limiter.schedule(work)
  },
  '`Bottleneck`, `reservoir` of 10, 1 more each second': () => {
    const limiter = new Bottleneck({
      reservoir: REQUESTS / 6,
      reservoirIncreaseInterval: MINUTE / REQUESTS,
      reservoirIncreaseAmount: 1,
      reservoirIncreaseMaximum: REQUESTS / 6,
    })
    return (work) => limiter.schedule(work)
  },
  '`Bottleneck`, `minTime` of 1 s': () => {
    const limiter = new Bottleneck({ minTime: MINUTE / REQUESTS })
    return (work) => limiter.schedule(work)
  },
}

/** Those who limit requests and tokens, two limits by hand where they have one each. */
export const doubleLimiters: Readonly<Record<string, (mode: 'wait' | 'reject') => Limited>> = {
  '**`rateLimit`**': (mode) => ours({ requests: REQUESTS, tokens: TOKENS, mode }),
  'two `RateLimiterMemory`': () => {
    const requests = flexible(REQUESTS)
    const tokens = flexible(TOKENS)
    return async (work, weight) => {
      await requests.consume('all')
      await tokens.consume('all', weight)
      return work()
    }
  },
  'two `RateLimiterQueue`': () => {
    const requests = new RateLimiterQueue(flexible(REQUESTS))
    const tokens = new RateLimiterQueue(flexible(TOKENS))
    return async (work, weight) => {
      await requests.removeTokens(1)
      await tokens.removeTokens(weight)
      return work()
    }
  },
  'two `Bottleneck`': (mode) => {
    const drop = mode === 'reject' && { highWater: 0, strategy: Bottleneck.strategy.OVERFLOW }
    const requests = refilled(REQUESTS, { ...drop })
    const tokens = refilled(TOKENS, { ...drop })
    return (work, weight) => requests.schedule(() => tokens.schedule({ weight }, work))
  },
}

/** When calls began, and how many tokens they were worth. */
class Begun {
  readonly #times: number[] = []
  readonly #tokens: number[] = []

  /** The work of a call of so many tokens, which takes so long. */
  work(tokens: number, ms = 0): () => Promise<void> {
    return () => {
      this.#times.push(now())
      this.#tokens.push(tokens)
      return ms === 0 ? Promise.resolve() : new Promise((resolve) => setTimeout(resolve, ms))
    }
  }

  get count(): number {
    return this.#times.length
  }

  /** The most of it that began within a minute, wherever that minute starts. */
  most(unit: 'requests' | 'tokens'): number {
    const amount = (i: number) => (unit === 'requests' ? 1 : (this.#tokens[i] as number))
    let most = 0
    let sum = 0
    let first = 0
    for (let i = 0; i < this.#times.length; i++) {
      sum += amount(i)
      while ((this.#times[i] as number) - (this.#times[first] as number) >= MINUTE)
        sum -= amount(first++)
      most = Math.max(most, sum)
    }
    return most
  }

  /** As it is now. */
  get summary() {
    return {
      calls: this.count,
      tokens: this.#tokens.reduce((sum, tokens) => sum + tokens, 0),
      mostCalls: this.most('requests'),
      mostTokens: this.most('tokens'),
    }
  }
}

const ignore = () => {}

/** How many of a limit's calls begin at once, when they come at once. */
const atOnce = (make: () => Limited) =>
  simulated(async ({ clock }) => {
    const limited = make()
    const begun = new Begun()
    for (let i = 0; i < REQUESTS; i++) void limited(begun.work(1), 1).catch(ignore)
    await clock.advance(900)
    return begun.count
  })

/** A limit's calls just before a minute after the first call is over, and as many just after it. */
const aroundAnEdge = (make: () => Limited) =>
  simulated(async ({ clock }) => {
    const limited = make()
    const begun = new Begun()
    const come = (calls: number) => {
      for (let i = 0; i < calls; i++) void limited(begun.work(1), 1).catch(ignore)
    }
    come(1)
    await clock.advance(MINUTE - 500)
    come(REQUESTS - 1)
    await clock.advance(1_000)
    come(REQUESTS)
    await clock.advance(5 * MINUTE)
    return begun.most('requests') / REQUESTS
  })

/** A hundred callers who ask again and again, for ten minutes. */
const underLoad = (make: () => Limited, tokensOf: (world: World) => number) =>
  simulated(async (world) => {
    const { clock, random } = world
    const limited = make()
    const begun = new Begun()
    let isOver = false
    const caller = async () => {
      while (!isOver) {
        const tokens = tokensOf(world)
        await limited(begun.work(tokens, 500 + 3_000 * random()), tokens).catch(
          () => new Promise((resolve) => setTimeout(resolve, 1_000)),
        )
      }
    }
    for (let i = 0; i < 100; i++) void caller()
    await clock.advance(10 * MINUTE)
    isOver = true
    return begun.summary
  })

/** What a limit of 60 requests a minute lets through. */
export async function limitFigures(name: string) {
  const make = limiters[name] as () => Limited
  const loaded = await underLoad(make, () => 1)
  return {
    atOnce: await atOnce(make),
    edge: await aroundAnEdge(make),
    load: loaded.mostCalls / REQUESTS,
    used: loaded.calls / (10 * REQUESTS),
  }
}

/** How many small calls begin at once after some have been refused for their tokens. */
const smallCalls = (make: () => Limited, used: number, refused: number) =>
  simulated(async ({ clock }) => {
    const limited = make()
    const begun = new Begun()
    // One after the other, as some limiters need a few turns of the event loop for each.
    const come = async (calls: number, tokens: number) => {
      for (let i = 0; i < calls; i++) {
        void limited(begun.work(tokens), tokens).catch(ignore)
        await clock.advance(10)
      }
    }
    await come(1, used)
    await come(refused, used)
    const before = begun.count
    await come(REQUESTS, 1)
    return begun.count - before
  })

/** A call of more tokens than a minute has, and ten small ones behind it: who of them begins. */
const dearCall = (make: () => Limited) =>
  simulated(async ({ clock }) => {
    const limited = make()
    const dear = new Begun()
    const small = new Begun()
    void limited(dear.work(1.2 * TOKENS), 1.2 * TOKENS).catch(ignore)
    for (let i = 0; i < 10; i++) void limited(small.work(10), 10).catch(ignore)
    await clock.advance(10 * MINUTE)
    return { dear: dear.count, small: small.count }
  })

/** What limits of 60 requests and 10,000 tokens a minute let through together. */
export async function doubleFigures(name: string) {
  const make = doubleLimiters[name] as (mode: 'wait' | 'reject') => Limited
  const wait = () => make('wait')
  const reject = () => make('reject')
  const loaded = await underLoad(wait, ({ random }) => 50 + Math.floor(951 * random()))
  // What one call leaves over is too little for another such call.
  const used = (name.includes('`rateLimit`') ? 0.15 : 0.9) * TOKENS
  return {
    tokens: loaded.mostTokens / TOKENS,
    used: loaded.tokens / (10 * TOKENS),
    without: await smallCalls(reject, used, 0),
    // It makes all of them wait.
    after: name.includes('Queue') ? undefined : await smallCalls(reject, used, 5),
    ...(await dearCall(wait)),
  }
}
