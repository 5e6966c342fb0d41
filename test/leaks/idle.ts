/**
 * Uses a client and forgets to close it, in each of the ways that leave something behind. The
 * process must end by itself.
 */
import { createBlossom } from '../../src/client/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { standard } from '../../src/standard.js'

const [baseURL = '', faulty = ''] = process.argv.slice(2)
const blossom = createBlossom({ baseURL }).use(...standard())
await blossom.text.generate('once')
const stream = await blossom.text.stream('left early')
await stream.next()
await stream.return(undefined)
for await (const _ of await blossom.text.stream('read whole'));
const open = createBlossom({ baseURL: faulty }).use(
  breaker({ minimumCalls: 1, resetMs: 3_600_000 }),
)
await open.text.generate('fails').catch(() => {})
const stale = createBlossom({ baseURL }).use(cache({ ttlMs: 3_600_000, staleMs: 3_600_000 }))
await stale.text.generate('kept')
console.log(open.stats().breaker.state, 'done')
