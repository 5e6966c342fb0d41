import type { Bench } from './bench.js'
import { everybody } from './contenders/all.js'
import { DISPATCH, OURS, RAW, SLOT, SOCKET } from './contenders/names.js'
import { freshPrompt, sleep } from './load.js'
import type { Sample } from './table.js'
import { type MakeSide, Processes } from './turns.js'
import type { Seen } from './upstream-answers.js'
import { startUpstream, type Upstream } from './upstream-process.js'

interface Settings {
  readonly origin: string
  readonly ms: number
}

class Left extends Error {}

/**
 * Reads a piece every 10 ms for `ms` and leaves. The process that asks upstream is another one, so
 * only moments are told.
 */
const side =
  (load: (typeof everybody)[string]): MakeSide<Settings> =>
  async ({ origin, ms }) => {
    const make = await load()
    const contender = make(origin, 4)
    return {
      async turn(): Promise<Sample> {
        const until = performance.now() + ms
        let leftAt = 0
        const reading = contender.stream(freshPrompt(), undefined, async () => {
          await sleep(10)
          if (performance.now() < until) return
          leftAt = performance.now()
          throw new Left()
        })
        const early = await reading.then(
          () => new Error('The stream ended.'),
          (error) => error,
        )
        if (!(early instanceof Left)) throw early
        while (contender.running?.() ?? 0) await sleep(1)
        const slot = contender.running === undefined ? Number.NaN : performance.now() - leftAt
        return { value: performance.timeOrigin + leftAt, more: { [SLOT]: slot } }
      },
      close: () => contender.close(),
    }
  }

/** Callbacks know no slow reader. */
const { [DISPATCH]: _, ...readers } = everybody
export const contenders = Object.fromEntries(
  Object.entries(readers).map(([name, load]) => [name, side(load)]),
)

/**
 * How much an endless stream may send to a reader of a piece each 10 ms, and what is held after he
 * has left.
 */
export async function run(bench: Bench): Promise<void> {
  const turns: Record<string, () => Promise<Sample>> = {}
  const ends: (() => unknown)[] = []
  try {
    bench.progress('starting the contenders')
    for (const name of bench.names(contenders, [RAW, OURS])) {
      // One each: what a contender leaves open must not be counted as another's.
      const upstream = await startUpstream({ streams: 'endless' })
      ends.push(() => upstream.close())
      const processes = await Processes.start('slow-reader', [name], {
        origin: upstream.origin,
        ms: bench.ms(600),
      })
      ends.push(() => processes.close())
      const turn = processes.turns('read')[name]
      turns[name] = async () => {
        const before = await settled(upstream, () => true)
        const left = (await turn?.()) as Sample
        const after = await settled(upstream, ({ closed }) => closed > before.closed)
        const socket =
          after.closed > before.closed ? Math.max(0, after.closedAt - left.value) : GIVEN_MS
        return { value: (after.sent - before.sent) / 1e6, more: { [SOCKET]: socket, ...left.more } }
      }
    }
    const title =
      'what upstream could send to a reader who takes a piece each 10 ms, and then leaves'
    await bench.table('', title, 'MB', turns, { rounds: 3, warmUps: 0 })
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

/** How long a socket may take to be free at all. */
const GIVEN_MS = 1_500

async function settled(upstream: Upstream, accept: (seen: Seen) => boolean): Promise<Seen> {
  for (const until = performance.now() + GIVEN_MS; performance.now() < until; await sleep(5)) {
    const seen = await upstream.seen()
    if (accept(seen)) return seen
  }
  return upstream.seen()
}
