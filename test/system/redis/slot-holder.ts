// Begins calls that never end, in a process that is to be killed. Arguments: the address of Redis,
// the length of leases, how many slots there are, and how many calls.
import { queue, stack } from '../../../src/index.js'
import { shortLeases } from './short-leases.js'

const [url, leaseMs, concurrency, calls] = process.argv.slice(2)
const shared = shortLeases(url as string, Number(leaseMs))
const options = { concurrency: Number(concurrency), shared }

// Not before Redis is there: what begins alone is not known to the others at once.
const meta = new Map<string, unknown>([['queue', { alone: true }]])
const first = stack(async () => {}, queue(options))
while ((meta.get('queue') as { alone?: true }).alone) await first(undefined, { meta })

let begun = 0
const ask = stack(() => {
  if (++begun === Number(calls)) process.stdout.write('begun')
  return new Promise<never>(() => {})
}, queue(options))
for (let i = 0; i < Number(calls); i++) void ask(i)
