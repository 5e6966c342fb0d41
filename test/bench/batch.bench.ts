import { createBlossom } from 'blossom-stack'
import PQueue from 'p-queue'
import type { Bench } from './bench.js'
import { chatRequest } from './contenders/contender.js'
import { BATCH_BY_HAND, BOUND, ESTIMATED, GROUPS, IN_ORDER } from './contenders/names.js'
import { fullStack } from './contenders/ours.js'
import { jsonBy, makePool, textOf } from './contenders/undici.js'
import { sleep } from './load.js'
import { ANSWER } from './upstream-answers.js'
import { startUpstream } from './upstream-process.js'

const WIDTH = 10

/** Most are quick and a few are slow, as generations are: 20 to 200 ms, the same in every run. */
function makePrompts(count: number): string[] {
  let seed = 7
  return Array.from({ length: count }, (_, i) => {
    seed = (seed * 16_807) % 2_147_483_647
    return `Prompt ${i} latency=${Math.round(20 + 180 * (seed / 2_147_483_647) ** 3)}`
  })
}
const latencyOf = (prompt: string): number => Number(prompt.split('=')[1])

/** How long a batch takes beside what it must take at least. */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const blossom = createBlossom({ baseURL: upstream.origin }).use(...fullStack(WIDTH))
  const pool = makePool(upstream.origin, WIDTH)
  const ask = jsonBy(pool)
  const prompts = makePrompts(bench.count(500, 30))
  let turn = 0
  /** New prompts each time: the cache must not help. */
  const timed =
    (work: (prompts: readonly string[]) => Promise<number>, asked = prompts) =>
    async () => {
      turn++
      const fresh = asked.map((prompt) => `Turn ${turn}, ${prompt}`)
      const start = performance.now()
      const done = await work(fresh)
      if (done !== fresh.length)
        throw new Error(`${done} of ${fresh.length} prompts have their answer.`)
      return { value: (performance.now() - start) / 1_000 }
    }
  const batch = (estimate?: (prompt: string) => number) =>
    timed(async (fresh) => {
      let done = 0
      const outcomes = blossom.text.batch(fresh, {
        concurrency: WIDTH,
        order: 'input',
        ...(estimate && { estimate }),
      })
      for await (const outcome of outcomes)
        if (outcome.ok && outcome.index === done && outcome.text === ANSWER) done++
      return done
    })
  const one = async (prompt: string) => (textOf(await ask(chatRequest(prompt))) === ANSWER ? 1 : 0)
  const boundOf = (asked: readonly string[]) => {
    const latencies = asked.map(latencyOf)
    const total = latencies.reduce((sum, ms) => sum + ms, 0)
    return { value: Math.max(total / WIDTH, ...latencies) / 1_000 }
  }
  const few = prompts.slice(0, 100)
  try {
    await bench.table(
      '',
      `${prompts.length} prompts with uneven latencies, ${WIDTH} at a time`,
      's',
      {
        [BOUND]: () => boundOf(prompts),
        [IN_ORDER]: batch(),
        [ESTIMATED]: batch(latencyOf),
        [BATCH_BY_HAND]: timed(async (fresh) => {
          const queue = new PQueue({ concurrency: WIDTH })
          const done = await Promise.all(fresh.map((prompt) => queue.add(() => one(prompt))))
          return done.filter(Boolean).length
        }),
      },
      { rounds: 3, warmUps: 0 },
    )
    await bench.table(
      'groups',
      `${few.length} of them in fixed groups, half a second between`,
      's',
      {
        [BOUND]: () => boundOf(few),
        [GROUPS]: timed(async (fresh) => {
          let done = 0
          for (let i = 0; i < fresh.length; i += WIDTH) {
            const answers = await Promise.all(fresh.slice(i, i + WIDTH).map(one))
            done += answers.filter(Boolean).length
            await sleep(500)
          }
          return done
        }, few),
      },
      { rounds: 1, warmUps: 0 },
    )
  } finally {
    await blossom.close()
    await pool.destroy()
    upstream.close()
  }
}
