import type { Bench } from './bench.js'
import { chatSides as contenders } from './contenders/all.js'
import { OURS, RAW } from './contenders/names.js'
import { Processes } from './turns.js'
import { startUpstream } from './upstream-process.js'

export { contenders }

/**
 * How long after the call the first text is there; an upstream that has it at once, one stream
 * after the other.
 */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const { origin } = upstream
  try {
    bench.progress('starting the contenders')
    const processes = await Processes.start('first-text', bench.names(contenders, [RAW, OURS]), {
      origin,
      width: 1,
      ms: bench.ms(400),
      warmUpMs: bench.ms(3_000),
    })
    const title = 'time to the first text of a stream, one after the other'
    await bench.table('', title, 'ms', processes.turns('first-text'), { warmUps: 2 })
    await processes.close()
  } finally {
    upstream.close()
  }
}
