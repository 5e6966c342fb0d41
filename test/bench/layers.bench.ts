import {
  base,
  type CallOptions,
  fallback,
  hedge,
  queue,
  rateLimit,
  StackError,
  stack,
} from 'blossom-stack'
import type { Bench } from './bench.js'
import { chatRequest } from './contenders/contender.js'
import {
  ADAPTIVE_QUEUE,
  BARE,
  FAIR_QUEUE,
  FALLBACK,
  HEDGE,
  REQUEST_LIMIT,
  TOKEN_LIMIT,
  WAITING,
} from './contenders/names.js'
import { freshPrompt, microseconds } from './load.js'
import type { Sample } from './table.js'
import { type MakeSide, Processes } from './turns.js'

type Call = (request: object, options: CallOptions) => Promise<unknown>

const answer = { text: 'Hello' }
const usage = { input: 8, output: 64 }
/** It knows its tokens, as the client does. */
const noop = base(async (_: object) => answer, { weigh: () => usage, usage: () => usage })
/** Nobody waits for it. */
const WIDE = 1e12

/** Each around a function that does nothing, and never in anybody's way. */
const layers: Readonly<Record<string, () => Call>> = {
  [BARE]: () => stack(noop),
  [REQUEST_LIMIT]: () => stack(noop, rateLimit({ requests: WIDE })),
  [TOKEN_LIMIT]: () => stack(noop, rateLimit({ requests: WIDE, tokens: WIDE })),
  [FALLBACK]: () => stack(noop, fallback({ to: [() => answer] })),
  [HEDGE]: () => stack(noop, hedge({ to: [stack(noop)] })),
  queue: () => stack(noop, queue({ fairness: false })),
  [FAIR_QUEUE]: () => stack(noop, queue()),
  [ADAPTIVE_QUEUE]: () => stack(noop, queue({ concurrency: 'adaptive', fairness: false })),
}

const tenants = Array.from({ length: 1_000 }, (_, i) => ({ tenant: `tenant ${i}` }))
const tenantOf = (i: number) => tenants[i % tenants.length] as CallOptions

const added = (make: () => Call): MakeSide<Settings> => {
  return ({ ms, warmUpMs }) => {
    const call = make()
    const one = (i: number) => call(chatRequest(freshPrompt()), tenantOf(i))
    return { warmUp: () => microseconds(warmUpMs, one), turn: () => microseconds(ms, one) }
  }
}

interface Settings {
  readonly ms: number
  readonly warmUpMs: number
  /** Of the calls of `WAITING`, this share waits. */
  readonly share: number
}

/** A call that never ran, which gives back what it took: the next one may go. */
const refused = new StackError('Refused.', {
  code: 'CLOSED',
  status: 503,
  retryable: false,
  refused: true,
})

/** A function that holds the one call that runs until it is told how it ends. */
class Held {
  #end: () => void = () => {}
  #begun: () => void = () => {}

  readonly answer = (): Promise<unknown> =>
    new Promise((_, reject) => {
      this.#end = () => reject(refused)
      this.#begun()
    })

  /** Ends the call that runs. Resolves when the next one has begun. */
  next(): Promise<void> {
    const begun = new Promise<void>((resolve) => {
      this.#begun = resolve
    })
    this.#end()
    return begun
  }
}

const HOUR = 3_600_000

const waiting: Readonly<Record<string, (held: Held) => Call>> = {
  queue: ({ answer }) =>
    stack(answer, queue({ concurrency: 1, maxWaiting: WIDE, maxWaitMs: HOUR })),
  // So slow that nobody goes by himself while it is measured.
  rateLimit: ({ answer }) => {
    const requests = { limit: 1, intervalMs: 1_000_000, burst: 1 }
    const maxWaitMs = 80_000 * HOUR
    return stack(answer, rateLimit({ requests, by: 'all', maxWaiting: WIDE, maxWaitMs }))
  },
}

const ignore = () => {}
const reason = new Error('Aborted.')

/** With so many waiting: one that comes and is aborted, and one that comes while the first goes. */
const among = (count: number, make: (held: Held) => Call): MakeSide<Settings> => {
  return ({ ms, warmUpMs, share }) => {
    const held = new Held()
    const call = make(held)
    const come = (i: number, options = tenantOf(i)) =>
      call(chatRequest(freshPrompt()), options).catch(ignore)
    for (let i = 0; i <= count * share; i++) void come(i)
    const works: Readonly<Record<string, (i: number) => Promise<unknown>>> = {
      abort: (i) => {
        const controller = new AbortController()
        const gone = come(i, { ...tenantOf(i), signal: controller.signal })
        controller.abort(reason)
        return gone
      },
      go: (i) => {
        void come(i)
        return held.next()
      },
    }
    const work = (kind: string) => works[kind] as (i: number) => Promise<unknown>
    return {
      warmUp: (kind) => microseconds(warmUpMs, work(kind)),
      turn: (kind) => microseconds(ms, work(kind)),
    }
  }
}

const crowds = Object.entries(waiting).map(([layer, make]) => {
  const sides = WAITING.map((count) => {
    const side = among(Number(count.replaceAll(',', '')), make)
    return [`${layer}, ${count} waiting`, side] as const
  })
  return [layer, Object.fromEntries(sides)] as const
})

export const contenders: Readonly<Record<string, MakeSide<Settings>>> = Object.fromEntries([
  ...Object.entries(layers).map(([name, make]) => [name, added(make)] as const),
  ...crowds.flatMap(([, sides]) => Object.entries(sides)),
])

type Turns = Readonly<Record<string, () => Promise<Sample>>>

/** What newer layers add to a call, and what those who wait cost those who come and go. */
export async function run(bench: Bench): Promise<void> {
  const settings = { ms: bench.ms(200), warmUpMs: bench.ms(1_500), share: bench.count(1, 0.01) }
  const timed = async (
    part: string,
    title: string,
    names: readonly string[],
    kinds: Readonly<Record<string, string>>,
  ) => {
    bench.progress('starting the contenders')
    const processes = await Processes.start('layers', names, settings)
    for (const [kind, what] of Object.entries(kinds)) {
      const turns: Turns = processes.turns(kind)
      await bench.table(`${part}${kind}`, `${title}${what}`, 'µs', turns, {
        warmUps: 2,
        rounds: 15,
      })
    }
    await processes.close()
  }
  const names = bench.names(layers, [BARE, REQUEST_LIMIT])
  await timed('', `one layer around a function that does nothing, for 1,000 tenants`, names, {
    added: '',
  })
  for (const [layer, sides] of crowds)
    await timed(`${layer}.`, `${layer}: a call that comes `, Object.keys(sides), {
      abort: 'and is aborted',
      go: 'while the first one goes',
    })
}
