import { createBlossom } from 'blossom-stack'
import { startLocalBlossom } from 'blossom-stack/testing'
import { inTurn } from './rounds.js'

export const title = 'a batch of 60 prompts with uneven latencies, 5 at a time (seconds; the lower bound is total time / 5)'

const PROMPTS = Array.from({ length: 60 }, (_, i) => `prompt ${i}`)
const WIDTH = 5
/** Most are quick, every fifth is slow: as generations are. */
const latencyOf = (prompt: string) => (Number(prompt.split(' ')[1]) % 5 === 0 ? 200 : 20)

export async function run() {
  const upstream = await startLocalBlossom({
    coalesce: false,
    latencyMs: ({ body }) => latencyOf((body as { messages: { content: string }[] }).messages[0]!.content),
  })
  const blossom = createBlossom({ baseURL: upstream.url })
  const seconds = (work: () => Promise<void>) => async () => {
    const start = performance.now()
    await work()
    return (performance.now() - start) / 1_000
  }
  /** Fixed groups, each waiting for its slowest, with a pause of half a second between them. */
  const groups = async () => {
    for (let i = 0; i < PROMPTS.length; i += WIDTH) {
      await Promise.all(PROMPTS.slice(i, i + WIDTH).map((prompt) => blossom.text.generate(prompt)))
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
  const window = (estimate?: (prompt: string) => number) => async () => {
    let done = 0
    for await (const outcome of blossom.text.batch(PROMPTS, { concurrency: WIDTH, order: 'input', ...(estimate && { estimate }) })) {
      if (outcome.ok) done++
    }
    if (done !== PROMPTS.length) throw new Error(`${done} of ${PROMPTS.length} prompts`)
  }
  const bound = PROMPTS.reduce((sum, prompt) => sum + latencyOf(prompt), 0) / WIDTH / 1_000
  try {
    return await inTurn('s', 3, {
      'lower bound': async () => bound,
      'text.batch, input order': seconds(window()),
      'text.batch, with estimate': seconds(window(latencyOf)),
      "the guide's way: fixed groups and a pause": seconds(groups),
    })
  } finally {
    await blossom.close()
    await upstream.close()
  }
}
