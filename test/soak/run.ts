/**
 * `npm run soak` loads a client with calls of all kinds for a minute, `npm run soak -- 10` for ten
 * seconds, `-- 10 7` with seed 7, against an upstream in a process of its own that meets one
 * request in eight with a fault. Exit code 1 when anything is lost, doubled, mixed up or left over.
 */
import { fork } from 'node:child_process'
import { getEventListeners, once } from 'node:events'
import { join } from 'node:path'
import { client, Load } from './load.js'
import { newCounts, print, type Rest, verdict } from './report.js'

const CALLERS = 40
/** Longer than any call may take. */
const PATIENCE_MS = 15_000

const seconds = Number(process.argv[2] ?? 60)
let state = Number(process.argv[3] ?? 1)
if (!(seconds > 0) || !Number.isInteger(state)) {
  console.error('usage: npm run soak -- [seconds] [seed]')
  process.exit(2)
}
const collect = globalThis.gc
if (collect === undefined) {
  console.error('The soak measures the heap behind a collection: run it with --expose-gc.')
  process.exit(2)
}

/** Mulberry32: the same seed, the same calls in the same order of drawing. */
const random = () => {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t ^= t + Math.imul(t ^ (t >>> 7), 61 | t)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const turn = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
async function heapNow(): Promise<number> {
  collect?.()
  await new Promise((resolve) => setImmediate(resolve))
  collect?.()
  return process.memoryUsage().heapUsed
}

const child = fork(join(import.meta.dirname, 'upstream.ts'), { execArgv: ['--import', 'tsx'] })
const [{ url }] = (await once(child, 'message')) as [{ url: string }]
const ask = async () => {
  child.send('how are you')
  const [answer] = (await once(child, 'message')) as [{ active: number; generations: number }]
  return answer
}

const warnings: string[] = []
process.on('warning', ({ name, message }) => warnings.push(`${name}: ${message}`))

const resources = () => process.getActiveResourcesInfo()
const socketsBefore = resources().filter((name) => name.startsWith('TCP')).length
const counts = newCounts()
const blossom = client(url)
const load = new Load(blossom, counts, random)
const began = performance.now()
const elapsed = () => (performance.now() - began) / 1_000
let peakRss = 0
let earlyHeap = 0
let mark = 0

const clock = setInterval(() => {
  const { rss, heapUsed } = process.memoryUsage()
  peakRss = Math.max(peakRss, rss)
  const rate = (counts.calls - mark) * 2
  mark = counts.calls
  if (process.stdout.isTTY) {
    process.stdout.write(
      `\r${elapsed().toFixed(0)} of ${seconds} s, ${rate} calls per second, heap ${(heapUsed / 2 ** 20).toFixed(0)} MiB   `,
    )
  }
}, 500)

const callers = Promise.all(
  Array.from({ length: CALLERS }, () => load.caller(() => elapsed() >= seconds)),
)
await turn((seconds * 1_000) / 3)
earlyHeap = await heapNow()
// It must not count as a timer that is left.
const patience = new Promise((resolve) =>
  setTimeout(resolve, (seconds * 1_000 * 2) / 3 + PATIENCE_MS).unref(),
)
await Promise.race([callers, patience])
const took = elapsed()
clearInterval(clock)
if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')

const held = () =>
  Object.values(blossom.stats() as unknown as Record<string, Record<string, number>>)
    .map(
      ({ running = 0, waiting = 0, active = 0, inFlight = 0 }) =>
        running + waiting + active + inFlight,
    )
    .reduce((sum, number) => sum + number, 0)
/** Calls that made no request of their own. */
const shared = () => {
  const { cache, dedupe, batcher } = blossom.stats() as unknown as Record<
    string,
    Record<string, number>
  >
  return {
    hits: cache?.hits ?? 0,
    joined: dedupe?.joined ?? 0,
    merged: (batcher?.items ?? 0) - (batcher?.batches ?? 0),
  }
}
await blossom.close({ timeoutMs: 2_000 })

/** Closed sockets are told of some turns later. */
const sockets = () => resources().filter((name) => name.startsWith('TCP')).length - socketsBefore
for (let i = 0; i < 200 && (sockets() > 0 || (await ask()).active > 0); i++) await turn(10)
const rest: Rest = {
  sockets: sockets(),
  timers: resources().filter((name) => name === 'Timeout').length,
  listeners: getEventListeners(load.lasting.signal, 'abort').length,
  upstreamActive: (await ask()).active,
  held: held(),
  ...shared(),
  warnings,
  earlyHeap,
  finalHeap: await heapNow(),
  peakRss: Math.max(peakRss, process.memoryUsage().rss),
  finalRss: process.memoryUsage().rss,
}
const wrong = verdict(counts, rest)
print(counts, rest, took, wrong)
child.disconnect()
process.exit(wrong.length === 0 ? 0 : 1)
