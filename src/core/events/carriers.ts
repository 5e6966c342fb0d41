import { processWide } from '../process-wide.js'
import { hookFailed } from '../warn.js'

/** Where an attempt goes. */
interface Destined {
  readonly method: string
  /** Scheme, host and port. */
  readonly origin: string
}

/**
 * A tracer, which carries its context along with the work of the calls that it knows by their
 * events. Calls are named by their ids; 0 for an attempt stands for the call itself.
 */
export interface Carrier {
  /** Runs the work in the tracer's context. */
  run<T>(call: string, attempt: number, work: () => T): T
  /** A call begins, after its event. */
  asked(call: string, request: unknown): void
  /** An attempt is sent. Returns headers to send along, names and values by turns. */
  sent(call: string, attempt: number, to: Destined): readonly string[]
  /** An attempt has been answered: with a whole answer, or with one more chunk of a stream. */
  came(call: string, attempt: number, part: unknown, isChunk: boolean): void
  /** The trace that a call belongs to, for logs. */
  traceIdOf(call: string): string | undefined
}

/** All tracers of the process, whichever copy of this library they came with. */
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

/** The work runs whatever the tracer does. */
function runIn<T>(carrier: Carrier, call: string, attempt: number, work: () => T): T {
  let hasRun = false
  try {
    return carrier.run(call, attempt, () => {
      hasRun = true
      return work()
    })
  } catch (error) {
    if (hasRun) throw error
    hookFailed('A tracer', error)
    return work()
  }
}
