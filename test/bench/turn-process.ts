/**
 * The process of one contender: `turn-process.js BENCH CONTENDER SETTINGS`. Each message names a
 * kind of turn, each reply is its sample.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Reply, Side, Sides } from './turns.js'

const [bench = '', name = '', settings = '{}'] = process.argv.slice(2)
const send = (reply: Reply) => process.send?.(reply)
const failure = (error: unknown) => ({
  error: error instanceof Error ? (error.stack ?? error.message) : String(error),
})

let side: Side | undefined
const warm = new Set<string>()
process.on('message', async (kind: string) => {
  try {
    if (!warm.has(kind)) await side?.warmUp?.(kind)
    warm.add(kind)
    if (side !== undefined) send({ sample: await side.turn(kind) })
  } catch (error) {
    send(failure(error))
  }
})
process.on('disconnect', () => process.exit(0))
// Otherwise the process would end without its error being reported.
process.on('unhandledRejection', (error) => send(failure(error)))

try {
  const file = pathToFileURL(join(import.meta.dirname, `${bench}.bench.js`)).href
  const { contenders } = (await import(file)) as { contenders: Sides }
  side = await contenders[name]?.(JSON.parse(settings) as never)
  if (side === undefined) throw new Error(`${bench} has no contender ${name}.`)
  send('ready')
} catch (error) {
  send(failure(error))
}
