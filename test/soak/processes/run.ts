/**
 * `npm run soak:processes` loads four processes that share a Redis, which is frozen, killed, filled,
 * wiped, made read-only and cut off one after another, and prints what became of the calls of each
 * phase. `npm run soak:processes -- 100` makes 100 calls a second in each process. Exit code 1 when
 * an answer is lost, doubled or wrong, or a call hangs.
 */
import { quantile, Service, throughTroubles, together } from './service.js'

const PROCESSES = 4
const TIMES = { first: 1_000, trouble: 6_000, back: 12_000 }

const rate = Number(process.argv[2] ?? 40)
const service = await Service.start(PROCESSES, rate)
await throughTroubles(service, TIMES)
const told = await service.end()
await service.remove()

let isBad = false
console.log('phase                     calls   p50 ms   p99 ms   wrong   failed')
for (const [name, { calls, wrong, failed, ms }] of together(told)) {
  const failures = Object.entries(failed).map(([code, count]) => `${count} × ${code}`)
  const times = [quantile(ms, 0.5), quantile(ms, 0.99)].map((time) => time.toFixed(0).padStart(8))
  console.log(
    `${name.padEnd(24)}${String(calls).padStart(7)} ${times.join(' ')}${String(wrong).padStart(8)}   ${failures.join(', ')}`,
  )
  isBad ||= wrong > 0 || ms.length + Object.values(failed).reduce((a, b) => a + b, 0) !== calls
}
const open = told.reduce((sum, one) => sum + one.open, 0)
console.log(
  `${open} calls hang; processes seen by each other: ${told.map(({ stats }) => stats.processes)}`,
)
console.log(
  `${service.upstream.requests.length} upstream requests at the end; hits ${told.map(({ layers }) => layers.cache.hits)}, elsewhere ${told.map(({ layers }) => layers.dedupe.elsewhere)}`,
)
process.exit(isBad || open > 0 ? 1 : 0)
