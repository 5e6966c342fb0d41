import { cache, createBlossom, stack } from 'blossom-stack'
import type { Bench } from './bench.js'
import { byHand } from './contenders/around.js'
import { chatRequest, DEADLINE_MS } from './contenders/contender.js'
import { CLIENT_HIT, HIT, OURS, SAME } from './contenders/names.js'
import { fullStack } from './contenders/ours.js'
import { jsonBy, makePool } from './contenders/undici.js'
import { microseconds } from './load.js'
import { startUpstream } from './upstream-process.js'

const noop = async (_: unknown) => ({ text: 'Hello' })

/**
 * What a hit costs, the making of its key included, and how often equal calls at once go upstream.
 */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const client = createBlossom({ baseURL: upstream.origin }).use(...fullStack(16))
  const pool = makePool(upstream.origin, 100)
  const ask = jsonBy(pool)
  try {
    for (const characters of [100, 8_000]) {
      const prompt = 'Why do flowers bloom in spring? '
        .repeat(Math.ceil(characters / 32))
        .slice(0, characters)
      const kept = stack(noop, cache())
      const keyv = byHand.ask(noop, 16)
      const same = Object.freeze(chatRequest(prompt))
      const cost = async (call: (i: number) => Promise<unknown>) => {
        // Whoever hands out a hit gives equal answers.
        if (JSON.stringify(await call(0)) !== JSON.stringify(await call(1)))
          throw new Error('A hit differs from its miss.')
        return microseconds(bench.ms(200), call)
      }
      await bench.table(
        `${characters}`,
        `a hit with its key, ${characters.toLocaleString('en-US')} characters`,
        'µs',
        5,
        {
          [HIT]: () => cost(() => kept(chatRequest(prompt))),
          [SAME]: () => cost(() => kept(same)),
          [CLIENT_HIT]: () =>
            cost(() =>
              client.chat.create(chatRequest(prompt) as never, { timeoutMs: DEADLINE_MS }),
            ),
          'packages by hand (keyv)': () => cost(() => keyv(chatRequest(prompt))),
        },
      )
    }
    let question = 0
    const upstreamCalls =
      (call: (request: ReturnType<typeof chatRequest>) => Promise<unknown>) => async () => {
        const { requests } = await upstream.seen()
        question++
        await Promise.all(
          Array.from({ length: 100 }, () => call(chatRequest(`The same question ${question}`))),
        )
        return (await upstream.seen()).requests - requests
      }
    const hand = byHand.ask((request) => ask(request as never), 100)
    await bench.table('equal', '100 equal calls at once', 'calls upstream', 3, {
      'undici request()': upstreamCalls((request) => ask(request)),
      'packages by hand': upstreamCalls((request) => hand(request)),
      [OURS]: upstreamCalls((request) => client.chat.create(request as never)),
    })
  } finally {
    await client.close()
    await pool.destroy()
    upstream.close()
  }
}
