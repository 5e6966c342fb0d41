/**
 * Starts the servers of one mount, each with the gateway in it: `node serve.mjs NAME bare full`. A
 * full one has the framework's usual parser, its compression and a middleware for request ids in
 * front. Their ports and every line of the gateway's log go to the test that has started them.
 */
import { breaker, cache, createBlossom, dedupe, pool, queue, retry, timeout } from 'blossom-stack'

const [, , name, ...kinds] = process.argv
const blossom = createBlossom({ apiKey: 'sk_test', baseURL: process.env.UPSTREAM }).use(
  cache(),
  dedupe(),
  timeout({ ms: 10_000 }),
  retry({ retries: 1, minDelayMs: 1, maxDelayMs: 1, budget: false }),
  breaker({ minimumCalls: 1_000 }),
  queue({ concurrency: 4 }),
  pool({ connections: 4 }),
)
const options = {
  corsOrigins: ['https://page.example'],
  heartbeatMs: 0,
  log: (entry) => process.send({ log: entry }),
}
const { start } = await import(`./around/${name}.mjs`)
const ports = {}
for (const kind of kinds) {
  const server = await start({ blossom, options, isFull: kind === 'full' })
  ports[kind] = server.address().port
}
process.on('message', ({ question }) => {
  if (question === 'stats') process.send({ stats: blossom.stats() })
})
process.on('disconnect', () => process.exit())
process.send({ ports })
