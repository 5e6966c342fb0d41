import type {
  Context,
  Handler,
  LogClaim,
  LogPart,
  LogReader,
  SharedLogs,
} from '../../core/index.js'
import { readEntry } from './entries.js'
import { Outlet, type OutletCall } from './outlet.js'
import { remoteStream } from './remote-stream.js'

/** How an answer is kept for other processes, which read it while it is written. */
const LOG = {
  /** Time for readers that are slower than the writer. */
  keepMs: 60_000,
  maxEntries: 10_000,
  maxLength: 1024 * 1024,
  whenFull: 'close',
} as const

/** How many times to follow another process whose answer then does not arrive. */
const TRIES = 4

/** A call that may also serve callers in other processes. */
export interface OwnedCall extends OutletCall {
  serve(outlet: Outlet): void
}

export interface OtherProcessesOptions {
  readonly layer: string
  readonly logs: SharedLogs
  /** Called when another process has answered the call. */
  joined(context: Context): void
  /** Called when the shared state could not be reached. */
  alone(context: Context): void
}

/**
 * Shares a call among processes. The first process to claim it makes the call and writes the answer
 * to a log that the others read.
 */
export class OtherProcesses {
  readonly #options: OtherProcessesOptions

  constructor(options: OtherProcessesOptions) {
    this.#options = options
  }

  /** Returns the answer of this process, or of the process that is already making the call. */
  async answer(
    key: string,
    call: OwnedCall,
    next: Handler,
    request: unknown,
    context: Context,
  ): Promise<unknown> {
    const { logs, alone } = this.#options
    const { sharedScope: scope = '' } = context.base
    for (let i = 0; i < TRIES; i++) {
      const claim = await logs.claim(`${scope.length}:${scope} ${key}`, LOG)
      if (context.cancel.aborted) {
        giveUp(claim)
        throw context.cancel.reason
      }
      if (claim === null) alone(context)
      if (claim === null || claim === 'full') break
      if (claim.writer) {
        call.serve(new Outlet(context.deadline, claim.writer, call))
        break
      }
      const followed = await this.#follow(claim.reader, context)
      if (followed !== undefined) return followed()
    }
    return next(request, context)
  }

  /**
   * Returns a function that returns the answer or throws its error; undefined when neither will
   * arrive.
   */
  async #follow(reader: LogReader, context: Context): Promise<(() => unknown) | undefined> {
    const part = await readOrLeave(reader, context)
    const entry = readEntry(part.entries[0] ?? '')
    if (entry === undefined) {
      reader.leave()
      return undefined
    }
    const { joined, layer } = this.#options
    joined(context)
    if (entry.kind === 'value') return () => entry.value.take()
    if (entry.kind === 'error')
      return () => {
        throw entry.error
      }
    const stream = remoteStream(reader, part, layer)
    return () => stream
  }
}

/** Reads the first part. Rejects with the reason when the callers leave before it arrives. */
function readOrLeave(reader: LogReader, { cancel }: Context): Promise<LogPart> {
  return new Promise((resolve, reject) => {
    const left = {
      abort(reason: unknown) {
        reader.leave()
        reject(reason)
      },
    }
    cancel.add(left)
    void reader.read().then((part) => {
      cancel.remove(left)
      resolve(part)
    })
  })
}

function giveUp(claim: LogClaim | null): void {
  if (claim === null || claim === 'full') return
  claim.writer?.abandon()
  claim.reader?.leave()
}
