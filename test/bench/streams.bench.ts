import type { Bench } from './bench.js'
import { chatSides as contenders } from './contenders/all.js'
import { OURS, RAW } from './contenders/names.js'
import { Processes } from './turns.js'
import { startUpstream } from './upstream-process.js'

export { contenders }

const WIDTH = 16

/** How many chunks of streams a second, and at what cost of CPU. */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const { origin } = upstream
  try {
    bench.progress('starting the contenders')
    const processes = await Processes.start('streams', bench.names(contenders, [RAW, OURS]), {
      origin,
      width: WIDTH,
      ms: bench.ms(500),
      warmUpMs: bench.ms(3_000),
    })
    const title = `chunks of streams, ${WIDTH} streams at a time`
    await bench.table('', title, 'chunks/s', processes.turns('stream'))
    await processes.close()
  } finally {
    upstream.close()
  }
}
