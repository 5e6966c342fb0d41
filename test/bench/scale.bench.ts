import { cache, stack } from 'blossom-stack'
import type { Bench, Contenders } from './bench.js'
import { chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { fullStack } from './contenders/ours.js'
import { freshPrompt, perSecond } from './load.js'
import { CPU, type Sample } from './table.js'

const answer = { text: 'Hello' }
/** Upstream's part, without its time: the next turn of the event loop. */
const later = () => new Promise<typeof answer>((resolve) => setImmediate(() => resolve(answer)))

type Call = (request: object, options: { timeoutMs: number }) => Promise<unknown>

/** The CPU time of a call, `width` in progress at once. */
async function cost(
  call: Call,
  width: number,
  ms: number,
  ask: () => object = () => chatRequest(freshPrompt()),
): Promise<Sample> {
  const sample = await perSecond(width, ms, async () => {
    await call(ask(), { timeoutMs: DEADLINE_MS })
    return 1
  })
  return typeof sample === 'object' ? (sample.more[CPU] ?? Number.NaN) : Number.NaN
}

/**
 * How a call's cost grows with what grows in a server: layers, calls in progress, entries of the
 * cache.
 */
export async function run(bench: Bench): Promise<void> {
  const ms = bench.ms(500)
  const full = (width: number) => stack(later, ...(fullStack(width) as unknown as never[])) as Call
  await cost(full(16), 16, bench.ms(5_000))

  const layered = Object.fromEntries(
    Array.from({ length: 8 }, (_, layers) => {
      // The innermost first, as a stack grows.
      const call = stack(later, ...(fullStack(16).slice(7 - layers) as unknown as never[])) as Call
      return [`${layers} layers`, () => cost(call, 16, ms)]
    }),
  )
  await bench.table(
    'layers',
    'CPU of a call by the number of layers, pool first and cache last',
    CPU,
    5,
    layered,
    2,
  )

  const wide: Contenders = Object.fromEntries(
    [1, 16, 256, 4_096].map((width) => {
      const call = full(width)
      return [`${width.toLocaleString('en-US')} in progress`, () => cost(call, width, ms)]
    }),
  )
  await bench.table('width', 'CPU of a call by the calls in progress, all layers', CPU, 5, wide, 2)

  for (const kind of ['miss', 'hit'] as const) {
    const kept: [string, () => Promise<Sample>][] = []
    for (const entries of [100, 10_000, 100_000]) {
      const call = stack(later, cache({ maxEntries: entries, maxBytes: 1024 ** 3 })) as Call
      const asked = Array.from({ length: bench.count(entries, 100) }, () =>
        chatRequest(freshPrompt()),
      )
      for (const request of asked) await call(request, { timeoutMs: DEADLINE_MS })
      let at = 0
      const again = () => asked[(97 * at++) % asked.length] as object
      kept.push([
        `${entries.toLocaleString('en-US')} entries`,
        () => (kind === 'hit' ? cost(call, 16, ms, again) : cost(call, 16, ms)),
      ])
    }
    await bench.table(
      `entries.${kind}`,
      `CPU of a ${kind} by the entries of the cache`,
      CPU,
      5,
      Object.fromEntries(kept),
      2,
    )
  }
}
