import { processWide } from '../process-wide.js'

/** Where an attempt goes. */
interface Destined {
  readonly method: string
  /** Scheme, host and port. */
  readonly origin: string
}

/**
 * A tracer, which carries its context along with the work of the calls that it knows by their
 * events. Calls are named by their ids; 0 for an attempt stands for the call itself. What it throws
 * would be the call's failure, so it must not.
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
    all = () => carrier.run(call, attempt, inner)
  }
  return all()
}
