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

const fresh = () => chatRequest(freshPrompt())

/** The CPU time of a call, `width` in progress at once. */
async function cost(call: Call, width: number, ms: number, request = fresh): Promise<Sample> {
  const { more } = await perSecond(width, ms, async () => {
    await call(request(), { timeoutMs: DEADLINE_MS })
    return 1
  })
  return { value: more[CPU] }
}

/** How a call's cost grows with the calls in progress, and with the entries of the cache. */
export async function run(bench: Bench): Promise<void> {
  const ms = bench.ms(500)
  const full = (width: number) => stack(later, ...(fullStack(width) as unknown as never[])) as Call
  await cost(full(16), 16, bench.ms(5_000))
  const wide: Contenders = Object.fromEntries(
    [1, 16, 256, 4_096].map((width) => {
      const call = full(width)
      return [`${width.toLocaleString('en-US')} in progress`, () => cost(call, width, ms)]
    }),
  )
  const rounds = { warmUps: 2 }
  await bench.table('width', 'a call by the calls in progress, all layers', CPU, wide, rounds)

  for (const kind of ['miss', 'hit'] as const) {
    const kept: [string, () => Promise<Sample>][] = []
    for (const entries of [100, 10_000, 100_000]) {
      const call = stack(later, cache({ maxEntries: entries, maxBytes: 1024 ** 3 })) as Call
      const asked = Array.from({ length: bench.count(entries, 100) }, fresh)
      for (const request of asked) await call(request, { timeoutMs: DEADLINE_MS })
      let at = 0
      const again = () => asked[(97 * at++) % asked.length] ?? fresh()
      const turn = () => cost(call, 16, ms, kind === 'hit' ? again : fresh)
      kept.push([`${entries.toLocaleString('en-US')} entries`, turn])
    }
    const title = `a ${kind} by the entries of the cache`
    await bench.table(`entries.${kind}`, title, CPU, Object.fromEntries(kept), rounds)
  }
}
