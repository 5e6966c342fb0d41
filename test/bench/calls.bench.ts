import type { Bench } from './bench.js'
import { chatSides as contenders } from './contenders/all.js'
import { Processes } from './turns.js'
import { startUpstream } from './upstream-process.js'

export { contenders }

/**
 * How many JSON calls a second, and at what cost of CPU. Every prompt is new, so every call is a
 * miss.
 */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const { origin } = upstream
  try {
    for (const width of bench.quick ? [16] : [16, 64]) {
      bench.progress(`starting the contenders, ${width} calls at a time`)
      const processes = await Processes.start('calls', Object.keys(contenders), {
        origin,
        width,
        ms: bench.ms(500),
        warmUpMs: bench.ms(4_000),
      })
      const title = `JSON calls, ${width} at a time`
      await bench.table(
        `${width}`,
        `${title}, without a caller's signal`,
        'calls/s',
        5,
        processes.turns('call'),
      )
      await bench.table(
        `${width}-signal`,
        `${title}, each with a fresh signal`,
        'calls/s',
        5,
        processes.turns('call-signal'),
      )
      await processes.close()
    }
  } finally {
    upstream.close()
  }
}
