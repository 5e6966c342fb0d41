import { isStackError, now, TELEMETRY, type TelemetryNote, wallTime } from '../../core/index.js'
import type { Finished } from '../server/finished.js'
import type { FailedCall } from './traffic.js'

/** A failure as the page shows it. */
export interface Failure {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly code: string
  readonly model?: string | undefined
  readonly status?: number | undefined
  /** Absent for a call that was not made through the gateway. */
  readonly requestId?: string | undefined
}

const SHOWN = 50
/** How long a failed call waits for the end of its request. Milliseconds. */
const WAITS_MS = 2_000
const LONGEST = 40

const short = (text: string | undefined): string | undefined =>
  text === undefined || text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1)}…`

/** The last failures. Combines the events of a failed call with the request that made it. */
export class Failures {
  readonly #calls = new Map<string, { readonly failed: FailedCall; readonly at: number }>()
  #last: readonly Failure[] = []

  /** The failures, newest first. */
  get last(): readonly Failure[] {
    return this.#last
  }

  /** Records a failed call. */
  readonly call = (failed: FailedCall): void => {
    this.#calls.set(failed.call, { failed, at: now() })
  }

  /** Records the end of a request. */
  readonly request = ({ requestId, status, error, meta, left }: Finished): void => {
    if (error === undefined || left) return
    const note = meta?.get(TELEMETRY) as TelemetryNote | undefined
    const known = note && this.#calls.get(note.call)
    if (known !== undefined) this.#calls.delete(known.failed.call)
    // A mistake of the client is not a failure of the service.
    else if (status < 500) return
    const code = known?.failed.code ?? (isStackError(error) ? error.code : 'INTERNAL')
    this.#add({ at: wallTime(), code, model: short(known?.failed.model), status, requestId })
  }

  /** Lists calls without a request, which were not made through the gateway. */
  tick(): void {
    const before = now() - WAITS_MS
    for (const [call, { failed, at }] of this.#calls) {
      if (at > before) return
      this.#calls.delete(call)
      this.#add({ at: Math.round(wallTime() - now() + at), ...own(failed) })
    }
  }

  #add(failure: Failure): void {
    const { code, requestId } = failure
    const kept = { ...failure, code: short(code) as string, requestId: short(requestId) }
    this.#last = [kept, ...this.#last.slice(0, SHOWN - 1)]
  }
}

const own = ({ code, model }: FailedCall) => ({ code, model: short(model) })
