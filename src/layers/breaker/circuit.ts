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
  type Trace,
} from '../../core/index.js'
import { VerdictWindow } from './verdict-window.js'

/** Whether calls pass (`closed`), are refused (`open`), or one is on trial (`half-open`). */
export type BreakerState = 'closed' | 'open' | 'half-open'

export interface CircuitOptions {
  failureRate: number
  minimumCalls: number
  windowMs: number
  resetMs: number
  /** `trace`: of the call whose verdict has opened or closed it. */
  onStateChange(state: BreakerState, trace: Trace | undefined): void
}

/** Leave to run one call. A verdict counts only while its permit does. */
export interface Permit {
  /** The circuit's period it was given in. */
  readonly period: number
  readonly trial: boolean
}

/** One circuit, from verdicts given at the end of each answer. */
export class Circuit implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #options: CircuitOptions
  readonly #verdicts: VerdictWindow
  #state: BreakerState = 'closed'
  /** Of an open circuit: the moment from which a trial may run. */
  #resetsAt = 0
  /** When the trial began that has no verdict yet. */
  #trialAt: number | undefined
  /** Grows with every change, so that verdicts of calls that began before are ignored. */
  #period = 0
  #trace: Trace | undefined
  #permit: Permit = { period: 0, trial: false }

  constructor(options: CircuitOptions) {
    this.#options = options
    this.#verdicts = new VerdictWindow(options.windowMs)
  }

  get state(): BreakerState {
    return this.#state === 'open' && now() >= this.#resetsAt ? 'half-open' : this.#state
  }

  /** Whether it is not closed, or calls have ended in its window. */
  get isActive(): boolean {
    return this.state !== 'closed' || !this.#verdicts.isEmpty
  }

  /** A permit, or the milliseconds after which asking again is worth it. */
  enter(isOptional = false): Permit | number {
    if (this.#state === 'closed') return this.#permit
    const at = now()
    // Such a call is no trial.
    if (isOptional) return Math.max(1, this.#resetsAt - at)
    if (this.#state === 'open') {
      if (at < this.#resetsAt) return Math.max(1, this.#resetsAt - at)
      this.#halfOpen()
    }
    if (this.#trialAt !== undefined) {
      const left = this.#trialAt + this.#options.resetMs - at
      if (left > 0) return left
      // A trial without a verdict for that long gives its permit back: its own late verdict belongs
      // to an old period.
      this.#period++
    }
    this.#trialAt = at
    return { period: this.#period, trial: true }
  }

  /**
   * The verdict on the call with this permit; `undefined`: it is ignored.
   */
  settle(permit: Permit, verdict: 'success' | 'failure' | undefined, trace?: Trace): void {
    if (permit.period !== this.#period) return
    if (permit.trial) return this.#settleTrial(verdict, trace)
    if (verdict === undefined) return
    this.#verdicts.add(verdict === 'failure')
    const { minimumCalls, failureRate } = this.#options
    if (this.#verdicts.hasFailed(minimumCalls, failureRate)) this.#open(trace)
  }

  #settleTrial(verdict: 'success' | 'failure' | undefined, trace: Trace | undefined): void {
    this.#trialAt = undefined
    if (verdict === 'failure') this.#open(trace)
    if (verdict === 'success') this.#close(trace)
  }

  #open(trace: Trace | undefined): void {
    this.#resetsAt = now() + this.#options.resetMs
    backgroundDeadlines.set(this, this.#resetsAt)
    this.#change('open', trace)
  }

  /** It is time for a trial, whether or not a call asks for one. */
  expire(): void {
    this.#halfOpen()
  }

  #halfOpen(): void {
    backgroundDeadlines.clear(this)
    this.#state = 'half-open'
    this.#options.onStateChange('half-open', this.#trace)
  }

  /** What was counted before is no sign of upstream's health now. */
  #close(trace: Trace | undefined): void {
    this.#verdicts.clear()
    this.#change('closed', trace)
  }

  #change(state: 'open' | 'closed', trace: Trace | undefined): void {
    this.#state = state
    this.#trialAt = undefined
    this.#trace = trace
    this.#permit = { period: ++this.#period, trial: false }
    this.#options.onStateChange(state, trace)
  }

  /** No verdict counts any more, and nothing is awaited. */
  close(): void {
    this.#period++
    backgroundDeadlines.clear(this)
  }
}
