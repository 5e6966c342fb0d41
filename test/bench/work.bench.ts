import type { Bench } from './bench.js'
import { countWork } from './work.js'

/**
 * What one call makes, counted and not timed: the figures that the test of the same name holds
 * within limits.
 */
export async function run(bench: Bench): Promise<void> {
  bench.progress('counting')
  const counts = await countWork(import.meta.dirname)
  const turns = Object.entries(counts).map(([name, { bytes, ...more }]) => [
    name,
    () => ({ value: bytes, more }),
  ])
  await bench.table(
    '',
    'what one call makes through the full stack',
    'bytes',
    Object.fromEntries(turns),
    { rounds: 1, warmUps: 0 },
  )
}
