import { isStackError, now, TELEMETRY, type TelemetryNote, wallTime } from '../../core/index.js'
import type { Finished } from '../server/finished.js'
import type { FailedCall } from './traffic.js'

/** One of the last failures. */
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
/** A call is known for so long before the request that it belongs to has ended. Milliseconds. */
const WAITS_MS = 2_000
const LONGEST = 40

const short = (text: string | undefined): string | undefined =>
  text === undefined || text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1)}…`

/** The last failures: what a call's events tell, with the request that it was made for. */
export class Failures {
  readonly #calls = new Map<string, { readonly failed: FailedCall; readonly at: number }>()
  #last: readonly Failure[] = []

  /** The newest first. */
  get last(): readonly Failure[] {
    return this.#last
  }

  /** A call has failed. */
  readonly call = (failed: FailedCall): void => {
    this.#calls.set(failed.call, { failed, at: now() })
  }

  /** A request has ended. */
  readonly request = ({ requestId, status, error, meta, left }: Finished): void => {
    if (error === undefined || left) return
    const note = meta?.get(TELEMETRY) as TelemetryNote | undefined
    const known = note && this.#calls.get(note.call)
    if (known !== undefined) this.#calls.delete(known.failed.call)
    // What the client has asked wrongly is no failure of the service.
    else if (status < 500) return
    const code = known?.failed.code ?? (isStackError(error) ? error.code : 'INTERNAL')
    this.#add({ at: wallTime(), code, model: short(known?.failed.model), status, requestId })
  }

  /** Calls whose requests have not ended by now were made without the gateway. */
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
