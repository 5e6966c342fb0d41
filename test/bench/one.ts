/**
 * The process of one benchmark: `one.js NAME [--quick]`, so that no benchmark inherits another's
 * heap, compiled code or timers.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Bench, type BenchFile, type Told } from './bench.js'

const [name = '', quick] = process.argv.slice(2)
const tell = (told: Told) =>
  new Promise<void>((resolve) => {
    if (process.send === undefined) resolve(console.log(JSON.stringify(told)))
    else process.send(told, undefined, undefined, () => resolve())
  })

try {
  const { run } = (await import(
    pathToFileURL(join(import.meta.dirname, `${name}.bench.js`)).href
  )) as BenchFile
  await run(new Bench(name, quick === '--quick', tell))
  process.exit(0)
} catch (error) {
  await tell({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  process.exit(1)
}
