// One of several processes of a service: calls at an even rate, and what became of them.
import { breaker, cache, createBlossom, dedupe, queue, rateLimit } from '../../../src/index.js'
import { redisShared } from '../../../src/redis/index.js'
import type { Phase, Told } from './service.js'

const [redis = '', upstream = '', rate = '50', which = 'shared'] = process.argv.slice(2)
const shared = redisShared({ url: redis })
const own = which === 'shared' ? { shared } : {}
const blossom = createBlossom({ baseURL: upstream, apiKey: 'sk_of_the_service' }).use(
  cache({ ttlMs: 20_000, ...own }),
  dedupe(own),
  rateLimit({ requests: 1_000_000, ...own }),
  breaker(own),
  queue({ concurrency: 500, ...own }),
)
const phases = new Map<string, Phase>()
let phase = 'begin'
let open = 0
let made = 0

/** Of ten calls three ask what others ask at the same time, and four are streams. */
function next(): { prompt: string; isStream: boolean } {
  const number = made++
  const isHot = number % 10 < 3
  const prompt = isHot
    ? `hot ${number % 40} of ${Math.floor(Date.now() / 3_000)}`
    : `cold ${process.pid} ${number}`
  return { prompt, isStream: number % 5 < 2 }
}

async function textOf(prompt: string, isStream: boolean): Promise<string> {
  if (!isStream) return (await blossom.text.generate(prompt)).text
  let text = ''
  for await (const piece of await blossom.text.stream(prompt)) text += piece.text
  return text
}

async function call(): Promise<void> {
  const { prompt, isStream } = next()
  const of = phases.get(phase) ?? { calls: 0, wrong: 0, failed: {}, ms: [] }
  phases.set(phase, of)
  of.calls++
  open++
  const begun = performance.now()
  try {
    const text = await textOf(prompt, isStream)
    if (text !== `The answer to ${prompt} is this.`) of.wrong++
    of.ms.push(performance.now() - begun)
  } catch (error) {
    const { code = 'none', cause } = error as { code?: string; cause?: { code?: string } }
    const name = `${code} ${cause?.code ?? ''}`.trim()
    of.failed[name] = (of.failed[name] ?? 0) + 1
  } finally {
    open--
  }
}

let timer: NodeJS.Timeout | undefined
process.on('message', (order: { phase?: string; end?: true }) => {
  if (order.phase !== undefined) phase = order.phase
  if (order.end) void end()
  else timer ??= setInterval(() => void call(), 1_000 / Number(rate))
})

async function end(): Promise<void> {
  clearInterval(timer)
  for (let i = 0; open > 0 && i < 400; i++) await new Promise((resolve) => setTimeout(resolve, 100))
  const told: Told = {
    open,
    phases: Object.fromEntries(phases),
    stats: { ...shared.stats() },
    layers: blossom.stats() as unknown as Told['layers'],
  }
  process.send?.(told)
}

while ((await shared.entries('any').get('any')) === null)
  await new Promise((resolve) => setTimeout(resolve, 20))
process.send?.('ready')
