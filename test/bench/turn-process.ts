/**
 * The process of one contender: `turn-process.js BENCH CONTENDER SETTINGS`. Each message names a
 * kind of turn, each answer is its figure.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Said, Side, Sides } from './turns.js'

const [bench = '', name = '', settings = '{}'] = process.argv.slice(2)
const say = (said: Said) => process.send?.(said)
const told = (error: unknown) => ({
  error: error instanceof Error ? (error.stack ?? error.message) : String(error),
})

let side: Side | undefined
const warm = new Set<string>()
process.on('message', async (kind: string) => {
  try {
    if (!warm.has(kind)) await side?.warmUp?.(kind)
    warm.add(kind)
    if (side !== undefined) say({ sample: await side.turn(kind) })
  } catch (error) {
    say(told(error))
  }
})
process.on('disconnect', () => process.exit(0))
// An error that nobody listens to would end the process without a word.
process.on('unhandledRejection', (error) => say(told(error)))

try {
  const { contenders } = (await import(
    pathToFileURL(join(import.meta.dirname, `${bench}.bench.js`)).href
  )) as { contenders: Sides }
  side = await contenders[name]?.(JSON.parse(settings) as never)
  if (side === undefined) throw new Error(`${bench} has no contender of this name.`)
  say('ready')
} catch (error) {
  say(told(error))
}
