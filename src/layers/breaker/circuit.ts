// opossum counts the verdicts in its rolling window (`verdict-window.ts`), whose buckets turn by our
// clock. When to open, the trials and the way back are decided here: opossum opens above its rate
// and not at it, looks at it at failures only, half-opens by a timer of its own, counts calls that
// still run, and keeps the old window when it closes. A verdict is given once, at the end of an
// answer, so nothing is left for `fire()`, which would cost three promises a call.

import {
  backgroundDeadlines,
  type Expiring,
  NOT_WAITING,
  now,
  type SharedCircuit,
  type SharedCircuits,
  type Trace,
} from '../../core/index.js'
import type { Rates } from './rates.js'
import { TrialLease } from './trial-lease.js'
import { type Permit, Trials } from './trials.js'
import { VerdictWindow } from './verdict-window.js'

export type { Permit } from './trials.js'

/** Whether calls pass (`closed`), are refused (`open`), or a few are on trial (`half-open`). */
export type BreakerState = 'closed' | 'open' | 'half-open'

export interface CircuitOptions extends Rates {
  minimumCalls: number
  windowMs: number
  trials: number
  /** How long it stays open after that many openings in a row. */
  resetMs(openings: number): number
  /**
   * `trace`: of the call whose verdict has opened or closed it. `isHeard`: another process has, and
   * `onMet()` follows with the first call that meets it.
   */
  onStateChange(state: BreakerState, trace: Trace | undefined, isHeard: boolean): void
  onMet?: ((state: BreakerState, trace: Trace | undefined) => void) | undefined
}

/** What must be kept of a circuit that is not closed. */
export interface OpenCircuit {
  /** Openings in a row. */
  readonly openings: number
  /** Milliseconds until the trials: negative when they may run. `Infinity`: until it is reset. */
  readonly resetsInMs: number
}

/** One circuit, from verdicts given at the end of each answer. */
export class Circuit implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #options: CircuitOptions
  readonly #verdicts: VerdictWindow
  readonly #trials: Trials
  #state: BreakerState = 'closed'
  /** Of an open circuit: the moment from which trials may run. `Infinity`: until `reset()`. */
  #resetsAt = 0
  /** How long it stays open, and how long a trial may take. */
  #resetMs = 0
  /** Openings since it was last closed. */
  #openings = 0
  /** Grows with every change, so that verdicts of calls that began before are ignored. */
  #period = 0
  #trace: Trace | undefined
  #permit: Permit = { period: 0, trial: false }
  /** Undefined while it is not shared. */
  #shared: SharedCircuit | undefined
  #lease: TrialLease | undefined
  /** The moment until which another process has the trial. */
  #triedUntil = 0
  /** What another process has made of it, and no call has met. */
  #heard: BreakerState | undefined

  constructor(options: CircuitOptions) {
    this.#options = options
    this.#verdicts = new VerdictWindow(options.windowMs)
    this.#trials = new Trials(options.trials, options)
  }

  get state(): BreakerState {
    return this.#state === 'open' && now() >= this.#resetsAt ? 'half-open' : this.#state
  }

  /** Whether it is not closed, or calls have ended in its window. */
  get isActive(): boolean {
    return this.state !== 'closed' || !this.#verdicts.isEmpty
  }

  /**
   * A permit, or the milliseconds after which asking again is worth it: `Infinity` while it is
   * isolated.
   */
  enter(isOptional = false): Permit | number {
    if (this.#state === 'closed') return this.#permit
    // Such a call is no trial.
    if (isOptional) return Math.max(1, this.#resetsAt - now())
    if (this.#state === 'open') {
      const left = this.#resetsAt - now()
      if (left > 0) return Math.max(1, left)
      this.#halfOpen()
    }
    const left = this.#triedUntil - now()
    return left > 0 ? Math.max(1, left) : this.#trials.enter(this.#period, this.#resetMs)
  }

  /** Whether other processes must be asked before the call may run. */
  mustAsk({ trial }: Permit): boolean {
    return trial && this.#lease !== undefined && !this.#lease.isHeld
  }

  /** Asks them for the trial of this permit. Resolves with what `enter()` returns. */
  async ask(permit: Permit): Promise<Permit | number> {
    const lease = this.#lease as TrialLease
    const waitMs = await lease.ask(this.#resetMs)
    if (permit.period !== this.#period) {
      // Another process has opened or closed it meanwhile.
      lease.release()
      return this.enter(true)
    }
    if (waitMs === null) permit.alone = true
    if (waitMs === null || waitMs === 0) return permit
    this.#trials.settle(permit, undefined, false)
    this.#triedUntil = now() + waitMs
    return Math.max(1, waitMs)
  }

  /**
   * The verdict on the call with this permit; `undefined`: it is ignored.
   */
  settle(
    permit: Permit,
    verdict: 'success' | 'failure' | undefined,
    isSlow = false,
    trace?: Trace,
  ): void {
    if (permit.period !== this.#period) return
    if (permit.trial) return this.#settleTrial(permit, verdict, isSlow, trace)
    if (verdict === undefined) return
    this.#verdicts.add(verdict === 'failure', isSlow)
    if (this.#verdicts.reaches(this.#options.minimumCalls, this.#options)) this.#open(trace)
  }

  #settleTrial(
    permit: Permit,
    verdict: 'success' | 'failure' | undefined,
    isSlow: boolean,
    trace: Trace | undefined,
  ): void {
    const next = this.#trials.settle(permit, verdict, isSlow)
    if (next === 'open') return this.#open(trace)
    if (next === 'closed') {
      this.#lease?.forget()
      this.#close(trace)
      this.#shared?.closed()
    } else if (this.#trials.isIdle) this.#lease?.release()
  }

  #open(trace: Trace | undefined): void {
    this.#resetMs = this.#options.resetMs(++this.#openings)
    this.#resetsAt = now() + this.#resetMs
    backgroundDeadlines.set(this, this.#resetsAt)
    this.#lease?.forget()
    this.#change('open', trace)
    this.#shared?.opened({ openings: this.#openings, resetsInMs: this.#resetMs })
  }

  /** It is time for trials, whether or not a call asks for one. */
  expire(): void {
    this.#halfOpen()
  }

  #halfOpen(): void {
    backgroundDeadlines.clear(this)
    this.#state = 'half-open'
    this.#options.onStateChange('half-open', this.#trace, false)
  }

  /** What was counted before is no sign of upstream's health now. */
  #close(trace: Trace | undefined, isHeard = false): void {
    this.#openings = 0
    this.#verdicts.clear()
    this.#change('closed', trace, isHeard)
  }

  #change(state: 'open' | 'closed', trace: Trace | undefined, isHeard = false): void {
    const hasChanged = state !== this.#state
    this.#state = state
    this.#trials.clear()
    this.#lease?.release()
    this.#triedUntil = 0
    this.#trace = trace
    this.#permit = { period: ++this.#period, trial: false }
    if (!hasChanged) return
    this.#heard = isHeard ? state : undefined
    this.#options.onStateChange(state, trace, isHeard)
  }

  /** From now on other processes hear of it, and it of what they do with it. */
  join(circuits: SharedCircuits, key: string): void {
    this.#shared = circuits.join(key, {
      opened: (opening) => this.#hearOpened(opening),
      closed: () => this.#hearClosed(),
      released: () => {
        this.#triedUntil = 0
      },
    })
    this.#lease = new TrialLease(this.#shared)
  }

  #hearOpened({ openings, resetsInMs }: OpenCircuit): void {
    this.#openings = Math.max(this.#openings, openings)
    const resetMs = this.#options.resetMs(this.#openings)
    // It stays open for no longer than if it had opened here, whatever anybody sends.
    const resetsAt = now() + Math.min(resetsInMs, resetMs)
    if (this.#state === 'open' && this.#resetsAt >= resetsAt) return
    this.#resetMs = resetMs
    this.#resetsAt = resetsAt
    backgroundDeadlines.set(this, resetsAt)
    this.#change('open', undefined, true)
  }

  #hearClosed(): void {
    // What an operator has opened here stays open.
    if (this.#state === 'closed' || this.#resetsAt === Number.POSITIVE_INFINITY) return
    backgroundDeadlines.clear(this)
    this.#close(undefined, true)
  }

  /** A call has come: the first one tells what other processes have made of it. */
  meet(trace: Trace | undefined): void {
    if (this.#heard === undefined) return
    this.#trace = trace
    this.#options.onMet?.(this.#heard, trace)
    this.#heard = undefined
  }

  /** Opens it until `reset()`. */
  isolate(): void {
    backgroundDeadlines.clear(this)
    const wasOpen = this.state === 'open'
    this.#resetsAt = Number.POSITIVE_INFINITY
    if (!wasOpen) this.#change('open', undefined)
  }

  /** Closes it, as if nothing had been counted. */
  reset(): void {
    const isOpenElsewhere = this.#state !== 'closed' && this.#resetsAt !== Number.POSITIVE_INFINITY
    backgroundDeadlines.clear(this)
    this.#close(undefined)
    if (isOpenElsewhere) this.#shared?.closed()
  }

  /** What must be kept of it; undefined when it is closed. */
  snapshot(): OpenCircuit | undefined {
    if (this.#state === 'closed') return undefined
    return { openings: this.#openings, resetsInMs: this.#resetsAt - now() }
  }

  /** Takes up what was kept of a circuit. */
  restore({ openings, resetsInMs }: OpenCircuit): void {
    this.#openings = openings
    this.#resetMs = this.#options.resetMs(Math.max(1, openings))
    // Another machine's clock may be ahead.
    const isIsolated = resetsInMs === Number.POSITIVE_INFINITY
    this.#resetsAt = isIsolated ? resetsInMs : now() + Math.min(resetsInMs, this.#resetMs)
    this.#state = 'open'
    if (!isIsolated) backgroundDeadlines.set(this, this.#resetsAt)
  }

  /** No verdict counts any more, and nothing is awaited. */
  close(): void {
    this.#period++
    backgroundDeadlines.clear(this)
    this.#lease?.release()
    this.#shared?.leave()
  }
}
