import type { Bench } from './bench.js'
import { chatSides as contenders } from './contenders/all.js'
import { BY_HAND, COCKATIEL, DISPATCH, OURS, PLAIN, RAW } from './contenders/names.js'
import { Processes } from './turns.js'
import { startUpstream } from './upstream-process.js'

export { contenders }

const everybody = Object.keys(contenders)
/** Without the SDKs, which are compared once. */
const few = [RAW, DISPATCH, PLAIN, OURS, BY_HAND, COCKATIEL]

/** JSON calls a second, and the CPU time of each. Every prompt is new, so every call is a miss. */
export async function run(bench: Bench): Promise<void> {
  const upstream = await startUpstream()
  const { origin } = upstream
  try {
    for (const width of bench.quick ? [16] : [16, 64]) {
      const names = width === 16 ? everybody : few
      bench.progress(`starting the contenders, ${width} calls at a time`)
      const settings = { origin, width, ms: bench.ms(500), warmUpMs: bench.ms(4_000) }
      const processes = await Processes.start('calls', names, settings)
      const title = `JSON calls, ${width} at a time`
      const calls = processes.turns('call', names)
      await bench.table(`${width}`, `${title}, without a caller's signal`, 'calls/s', calls)
      const signalled = processes.turns('call-signal', few)
      await bench.table(
        `${width}-signal`,
        `${title}, each with a fresh signal`,
        'calls/s',
        signalled,
      )
      await processes.close()
    }
  } finally {
    upstream.close()
  }
}
