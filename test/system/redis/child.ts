// One of several processes of a service: it makes the calls that it is told to.
import { breaker, cache, createBlossom, dedupe, rateLimit } from '../../../src/index.js'
import { redisShared } from '../../../src/redis/index.js'
import type { Order, Report } from './process.js'

const [redis = '', upstream = '', names = ''] = process.argv.slice(2)
// A busy machine must not make it decide alone.
const shared = redisShared({ url: redis, timeoutMs: 5_000 })
const LAYERS = {
  cache: () => cache({ shared }),
  dedupe: () => dedupe({ shared }),
  rateLimit: () => rateLimit({ requests: 1_000_000, shared }),
  breaker: () => breaker(),
}
const layers = names.split(',').map((name) => LAYERS[name as keyof typeof LAYERS]())
const blossom = createBlossom({ baseURL: upstream, apiKey: 'sk_of_the_service' }).use(...layers)
const send = (report: Report) => process.send?.(report)

/** What a test can tell of a failure. */
function failure(error: unknown): NonNullable<Report['failed']> {
  const { code, name, cause } = error as { code?: string; name: string; cause?: { code?: string } }
  return { code: code ?? name, cause: cause?.code }
}

async function generate(prompt: string): Promise<string> {
  const { text } = await blossom.text.generate(prompt)
  return text
}

async function stream(id: number, prompt: string): Promise<string> {
  let text = ''
  for await (const piece of await blossom.text.stream(prompt)) {
    text += piece.text
    send({ id, piece: piece.text })
  }
  return text
}

async function run({ id, how, prompt }: Order): Promise<void> {
  const begun = performance.now()
  const ms = () => performance.now() - begun
  try {
    const text = await (how === 'stream' ? stream(id, prompt) : generate(prompt))
    send({ id, text, ms: ms() })
  } catch (error) {
    send({ id, failed: failure(error), ms: ms() })
  }
}

process.on('message', (order: Order) => void run(order))
process.on('disconnect', () => process.exit())

// Ready when what is shared can be asked.
while ((await shared.entries('any').get('any')) === null)
  await new Promise((resolve) => setTimeout(resolve, 20))
send({ id: -1 })
