import { execFileSync } from 'node:child_process'
import { cache, queue, stack } from 'blossom-stack'
import PQueue from 'p-queue'
import type { Bench } from './bench.js'
import { everybody } from './contenders/all.js'
import { byHand } from './contenders/around.js'
import { chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { BY_HAND, OURS, QUEUED, RAW } from './contenders/names.js'
import { fullStack } from './contenders/ours.js'
import { freshPrompt, sleep } from './load.js'
import type { Sample } from './table.js'
import { type MakeSide, Processes } from './turns.js'
import { startUpstream } from './upstream-process.js'

interface Settings {
  readonly origin: string
  readonly count: number
}

async function bytesInUse(): Promise<number> {
  for (let i = 0; i < 2; i++) {
    globalThis.gc?.()
    await sleep(20)
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/**
 * What `make` leaves in memory, for each of `count`. The function that it returns holds what must
 * not be collected, and lets go of it.
 */
const kept =
  (
    make: (count: number, origin: string) => Promise<() => unknown> | (() => unknown),
  ): MakeSide<Settings> =>
  ({ count, origin }) => ({
    async turn(): Promise<Sample> {
      // Once before, so that what is made once only is there.
      await (await make(10, origin))()
      const before = await bytesInUse()
      const rss = process.memoryUsage().rss
      const end = await make(count, origin)
      const bytes = ((await bytesInUse()) - before) / count
      const resident = (process.memoryUsage().rss - rss) / count
      await end()
      return { value: bytes, more: { 'resident bytes': resident } }
    },
  })

const never = () => new Promise<{ text: string }>(() => {})
const noop = async (_: unknown) => ({ text: 'Hello' })
const quiet = (promise: Promise<unknown>) => void promise.catch(() => {})

/** Calls that wait behind one that never ends. */
const waiting: Readonly<Record<string, MakeSide<Settings>>> = {
  [QUEUED]: kept((count) => {
    const line = new PQueue({ concurrency: 1 })
    for (let i = 0; i <= count; i++) quiet(line.add(never))
    return () => line.clear()
  }),
  queue: kept((count) => {
    const ask = stack(never, queue({ concurrency: 1, maxWaiting: count + 1 }))
    for (let i = 0; i <= count; i++) quiet(ask(undefined))
    return () => ask.close({ timeoutMs: 0 })
  }),
  [BY_HAND]: kept((count) => {
    const ask = byHand.ask(never, 1)
    for (let i = 0; i <= count; i++) quiet(ask(chatRequest(freshPrompt())))
    return () => {}
  }),
  [OURS]: kept((count) => {
    const [keep, share, time, repeat, trip, , pool] = fullStack(1)
    const ask = stack(
      never,
      ...([
        keep,
        share,
        time,
        repeat,
        trip,
        queue({ concurrency: 1, maxWaiting: count + 1 }),
        pool,
      ] as never[]),
    )
    for (let i = 0; i <= count; i++)
      quiet(ask(chatRequest(freshPrompt()), { timeoutMs: DEADLINE_MS }))
    return () => ask.close({ timeoutMs: 0 })
  }),
}

/** Answers of a few words, each kept under its own question. */
const cached: Readonly<Record<string, MakeSide<Settings>>> = {
  'keyv, by hand': kept(async (count) => {
    const ask = byHand.ask(noop, 1)
    for (let i = 0; i < count; i++) await ask(chatRequest(freshPrompt()))
    // The deadlines of a minute are not what is asked about; the answers are, and `ask` holds them.
    return () => ask(chatRequest(freshPrompt()))
  }),
  cache: kept(async (count) => {
    const ask = stack(noop, cache({ maxEntries: count }))
    for (let i = 0; i < count; i++) await ask(chatRequest(freshPrompt()))
    return () => ask.close()
  }),
}

class Left extends Error {}

const openStreams = (name: string): MakeSide<Settings> =>
  kept(async (count, origin) => {
    const make = await everybody[name]?.()
    if (make === undefined) throw new Error(`There is no ${name}.`)
    const contender = make(origin, count)
    let leave = () => {}
    const leaving = new Promise<void>((_, reject) => {
      leave = () => reject(new Left())
    })
    quiet(leaving)
    const streams: Promise<void>[] = []
    // In groups: as many connections at once as the machine lets in.
    for (let i = 0; i < count; i += 100) {
      const first = Array.from({ length: Math.min(100, count - i) }, () => {
        return new Promise<void>((resolve, reject) => {
          const stream = contender.stream(freshPrompt(), undefined, () => {
            resolve()
            return leaving
          })
          stream.catch(reject)
          streams.push(stream)
        })
      })
      await Promise.all(first)
    }
    return async () => {
      leave()
      await Promise.allSettled(streams)
      await contender.close()
    }
  })

/** Each with what is counted, and how many of it. */
const parts = {
  waiting: { title: 'a call that waits', sides: waiting, count: 10_000, rounds: 3 },
  cached: {
    title: 'a cached entry, with its key and its small answer',
    sides: cached,
    count: 10_000,
    rounds: 3,
  },
  streams: {
    title: 'an open stream',
    sides: Object.fromEntries([RAW, OURS].map((name) => [name, openStreams(name)])),
    count: Math.min(10_000, socketsAllowed()),
    rounds: 1,
  },
} as const
type Part = keyof typeof parts

const nameIn = (part: Part, name: string) => `${part}: ${name}`
export const contenders = Object.fromEntries(
  (Object.keys(parts) as Part[]).flatMap((part) =>
    Object.entries(parts[part].sides).map(([name, side]) => [nameIn(part, name), side]),
  ),
)

/** Sockets that this process and upstream may each have open, other files left over. */
function socketsAllowed(): number {
  try {
    const limit = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
    return limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit) - 300
  } catch {
    return 700
  }
}

/** What a call, an entry or a stream keeps in memory while it is there. */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream({ streams: 'held' })
  const { origin } = upstream
  if (!bench.quick && parts.streams.count < 10_000)
    bench.leaveOut(`this machine allows ${parts.streams.count} open streams; see ulimit -n.`)
  try {
    for (const part of Object.keys(parts) as Part[]) {
      const { title, sides, count, rounds } = parts[part]
      bench.progress(`starting the contenders for ${part}`)
      const names = Object.keys(sides)
      const settings = { origin, count: bench.count(count, 200) }
      const processes = await Processes.start(
        'memory',
        names.map((name) => nameIn(part, name)),
        settings,
      )
      const all = processes.turns(part)
      const turns = names.flatMap((name) => {
        const turn = all[nameIn(part, name)]
        return turn === undefined ? [] : [[name, turn] as const]
      })
      const counted = `${title}, of ${settings.count.toLocaleString('en-US')}`
      await bench.table(part, counted, 'bytes', Object.fromEntries(turns), { rounds, warmUps: 0 })
      await processes.close()
    }
  } finally {
    upstream.close()
  }
}
