import { createBlossom } from 'blossom-stack'
import type { Bench } from './bench.js'
import { byHand } from './contenders/around.js'
import { type ChatRequest, chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { BY_HAND, OURS, PARSED } from './contenders/names.js'
import { fullStack } from './contenders/ours.js'
import { jsonBy, makePool, textOf } from './contenders/undici.js'
import { microseconds } from './load.js'
import type { Sample } from './table.js'
import { answerOf } from './upstream-answers.js'
import { startUpstream } from './upstream-process.js'

/** What a hit costs through the client: its key, its lookup, and an answer of the caller's own. */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const client = createBlossom({ baseURL: upstream.origin }).use(...fullStack(16))
  const pool = makePool(upstream.origin, 1)
  const ask = jsonBy(pool)
  const keyv = byHand.ask((request) => ask(request as ChatRequest), 1)
  try {
    for (const characters of [100, 8_000]) {
      const request = () => chatRequest(`Why do flowers bloom? characters=${characters}`)
      const json = JSON.stringify(await ask(request()))
      const ways: Record<string, () => Promise<unknown>> = {
        [PARSED]: async () => JSON.parse(json),
        [OURS]: () => client.chat.create(request() as never, { timeoutMs: DEADLINE_MS }),
        [BY_HAND]: () => keyv(request()),
      }
      const cost = async (call: () => Promise<unknown>): Promise<Sample> => {
        const before = (await upstream.seen()).requests
        await call()
        const sample = await microseconds(bench.ms(500), call)
        if (textOf(await call()) !== answerOf(characters))
          throw new Error('The hit is not the answer.')
        if ((await upstream.seen()).requests > before + 1) throw new Error('They were no hits.')
        return sample
      }
      const title = `a hit, ${characters.toLocaleString('en-US')} characters of answer`
      const turns = Object.entries(ways).map(([name, call]) => [name, () => cost(call)])
      await bench.table(`${characters}`, title, 'µs', Object.fromEntries(turns), { warmUps: 4 })
    }
  } finally {
    await client.close()
    await pool.destroy()
    upstream.close()
  }
}
