/**
 * The process of one benchmark: `one.js NAME [--quick]`. A process each, so that no benchmark
 * inherits another's heap, compiled code or timers.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Bench, type BenchFile, type Message } from './bench.js'

const [name = '', quick] = process.argv.slice(2)
const send = (message: Message) =>
  new Promise<void>((resolve) => process.send?.(message, undefined, undefined, () => resolve()))

try {
  const file = pathToFileURL(join(import.meta.dirname, `${name}.bench.js`)).href
  const { run } = (await import(file)) as BenchFile
  await run(new Bench(name, quick === '--quick', send))
  process.exit(0)
} catch (error) {
  await send({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  process.exit(1)
}
