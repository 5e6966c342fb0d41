import { base, stack } from 'blossom-stack'
import { Watch, type WatchedGateway } from '../../src/gateway/live/watch.js'
import type { Bench } from './bench.js'
import { type ChatRequest, chatRequest } from './contenders/contender.js'
import { fullStack } from './contenders/ours.js'
import { freshPrompt, sleep } from './load.js'
import type { Sample } from './table.js'

const answer = { model: 'openai', text: 'Hello' }
/** Calls a second. */
const RATES = [0, 1_000]

/** What a process takes of a core in a while, with so many calls a second. */
async function share(ms: number, rate: number, call: () => Promise<unknown>): Promise<Sample> {
  const { user, system } = process.cpuUsage()
  const begun = performance.now()
  for (let made = 0; performance.now() - begun < ms; await sleep(10)) {
    const due = ((performance.now() - begun) * rate) / 1_000
    for (; made < due; made++) void call()
  }
  const used = process.cpuUsage()
  const taken = (used.user - user + used.system - system) / 1_000
  return { value: (100 * taken) / (performance.now() - begun) }
}

/** What the live page takes of a core while it is open. */
export async function run(bench: Bench): Promise<void> {
  const ask = stack(
    base(async (_: ChatRequest) => answer, { model: ({ model }) => model }),
    ...(fullStack(16) as unknown as never[]),
  )
  const call = () => ask(chatRequest(freshPrompt()))
  const core = {
    blossom: ask,
    view: { namesOf: () => [] },
    watcher: undefined,
    isDraining: () => false,
  } as unknown as WatchedGateway
  const ms = bench.ms(5_000)
  for (const rate of RATES) {
    const title = `a process with ${rate.toLocaleString('en')} calls a second`
    await bench.table(`${rate}`, title, '% of a core', {
      'nobody watching': () => share(ms, rate, call),
      'a page open': async () => {
        const watch = new Watch(core)
        const feed = watch.open({ heartbeatMs: 0, writeTimeoutMs: 1_000, cut: () => {} })
        feed.attach({ readable: () => void feed.take() })
        const sample = await share(ms, rate, call)
        watch.close()
        return sample
      },
    })
  }
}
