import { processWide } from '../process-wide.js'
import { hookFailed } from '../warn.js'

/** Where an attempt is sent. */
interface Target {
  readonly method: string
  /** Scheme, host and port. */
  readonly origin: string
}

/**
 * A tracer. It identifies calls by the ids in their events and runs their work in its own context.
 * Attempt 0 stands for the call itself.
 */
export interface Carrier {
  /** Runs the work in the tracer's context. */
  run<T>(call: string, attempt: number, work: () => T): T
  /** Called when a call starts, after its `call:start` event. */
  asked(call: string, request: unknown): void
  /** Called when an attempt is sent. Returns headers to add, as alternating names and values. */
  sent(call: string, attempt: number, to: Target): readonly string[]
  /** Called with a complete answer, or with each chunk of a stream. */
  came(call: string, attempt: number, part: unknown, isChunk: boolean): void
  /** The id of the trace that a call belongs to, for logs. */
  traceIdOf(call: string): string | undefined
}

/** All tracers of the process, from any copy of this library. */
export const carriers: Set<Carrier> = processWide('carriers', () => new Set<Carrier>())

/** Runs the work in the contexts of all tracers. */
export function carried<T>(call: string, attempt: number, work: () => T): T {
  let all = work
  for (const carrier of carriers) {
    const inner = all
    all = () => runIn(carrier, call, attempt, inner)
  }
  return all()
}

/** Runs the work even if the tracer throws. */
function runIn<T>(carrier: Carrier, call: string, attempt: number, work: () => T): T {
  let hasRun = false
  try {
    return carrier.run(call, attempt, () => {
      hasRun = true
      return work()
    })
  } catch (error) {
    if (hasRun) throw error
    hookFailed('A tracing hook', error)
    return work()
  }
}
