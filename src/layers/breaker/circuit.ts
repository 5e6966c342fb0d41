// opossum only counts: it holds the verdicts in a rolling window (`verdict-window.ts`) that our
// clock rotates. When to open, half-open and close is decided here, because opossum opens only
// above its rate, checks the rate only at failures, half-opens by its own timer, counts calls still
// running, and keeps the old window when it closes. The verdict comes once, at the end of an
// answer, so `fire()` would add nothing and cost three promises per call.

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

/**
 * The state of a circuit: calls pass (`closed`), are rejected (`open`), or a few run as trials
 * (`half-open`).
 */
export type BreakerState = 'closed' | 'open' | 'half-open'

export interface CircuitOptions extends Rates {
  minimumCalls: number
  windowMs: number
  trials: number
  /** How long the circuit stays open after this many openings in a row. Milliseconds. */
  resetMs(openings: number): number
  /**
   * `trace` is that of the call whose verdict changed the state. With `isHeard` another process
   * changed it, and `onMet()` follows with the first call after that.
   */
  onStateChange(state: BreakerState, trace: Trace | undefined, isHeard: boolean): void
  onMet?: ((state: BreakerState, trace: Trace | undefined) => void) | undefined
}

/** What to save of a circuit that is not closed. */
export interface OpenCircuit {
  /** How often it has opened in a row. */
  readonly openings: number
  /**
   * Milliseconds until trials start; negative when they may run now, `Infinity` until `reset()`.
   */
  readonly resetsInMs: number
}

/** One circuit. It gets a verdict at the end of each answer. */
export class Circuit implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #options: CircuitOptions
  readonly #verdicts: VerdictWindow
  readonly #trials: Trials
  #state: BreakerState = 'closed'
  /** When an open circuit allows trials. `Infinity`: not before `reset()`. */
  #resetsAt = 0
  /** How long the circuit stays open, and how long a trial may take. */
  #resetMs = 0
  /** Openings since it was last closed. */
  #openings = 0
  /** Increases with every change. Verdicts of calls from earlier periods are ignored. */
  #period = 0
  #trace: Trace | undefined
  #permit: Permit = { period: 0, trial: false }
  /** Undefined without shared state. */
  #shared: SharedCircuit | undefined
  #lease: TrialLease | undefined
  /** Until when another process has the trial. */
  #triedUntil = 0
  /** A change made by another process that no call here has seen yet. */
  #heard: BreakerState | undefined

  constructor(options: CircuitOptions) {
    this.#options = options
    this.#verdicts = new VerdictWindow(options.windowMs)
    this.#trials = new Trials(options.trials, options)
  }

  get state(): BreakerState {
    return this.#state === 'open' && now() >= this.#resetsAt ? 'half-open' : this.#state
  }

  /** Whether it is not closed, or has verdicts in its window. */
  get isActive(): boolean {
    return this.state !== 'closed' || !this.#verdicts.isEmpty
  }

  /**
   * Returns a permit, or the milliseconds to wait before asking again (`Infinity` while isolated).
   */
  enter(isOptional = false): Permit | number {
    if (this.#state === 'closed') return this.#permit
    // An optional call is never used as a trial.
    if (isOptional) return Math.max(1, this.#resetsAt - now())
    if (this.#state === 'open') {
      const left = this.#resetsAt - now()
      if (left > 0) return Math.max(1, left)
      this.#halfOpen()
    }
    const left = this.#triedUntil - now()
    return left > 0 ? Math.max(1, left) : this.#trials.enter(this.#period, this.#resetMs)
  }

  /** Whether the call is a trial that must first be claimed from other processes. */
  mustAsk({ trial }: Permit): boolean {
    return trial && this.#lease !== undefined && !this.#lease.isHeld
  }

  /** Claims the trial from other processes. Resolves with what `enter()` returns. */
  async ask(permit: Permit): Promise<Permit | number> {
    const lease = this.#lease as TrialLease
    const waitMs = await lease.ask(this.#resetMs)
    if (permit.period !== this.#period) {
      // Meanwhile another process has opened or closed the circuit.
      lease.release()
      return this.enter(true)
    }
    if (waitMs === null) permit.alone = true
    if (waitMs === null || waitMs === 0) return permit
    this.#trials.settle(permit, undefined, false)
    this.#triedUntil = now() + waitMs
    return Math.max(1, waitMs)
  }

  /** Records the verdict on the call with this permit; `undefined` means none. */
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

  /** The open time is over, so trials may start, even if no call asks. */
  expire(): void {
    this.#halfOpen()
  }

  #halfOpen(): void {
    backgroundDeadlines.clear(this)
    this.#state = 'half-open'
    this.#options.onStateChange('half-open', this.#trace, false)
  }

  /** Starts with an empty window, because old verdicts show nothing about upstream's health now. */
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

  /** Shares the circuit with other processes from now on. */
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
    // Never stays open longer than if it had opened here, whatever another process sends.
    const resetsAt = now() + Math.min(resetsInMs, resetMs)
    if (this.#state === 'open' && this.#resetsAt >= resetsAt) return
    this.#resetMs = resetMs
    this.#resetsAt = resetsAt
    backgroundDeadlines.set(this, resetsAt)
    this.#change('open', undefined, true)
  }

  #hearClosed(): void {
    // A circuit isolated here by an operator stays open.
    if (this.#state === 'closed' || this.#resetsAt === Number.POSITIVE_INFINITY) return
    backgroundDeadlines.clear(this)
    this.#close(undefined, true)
  }

  /** Called for each call. The first one after a change by another process reports that change. */
  meet(trace: Trace | undefined): void {
    if (this.#heard === undefined) return
    this.#trace = trace
    this.#options.onMet?.(this.#heard, trace)
    this.#heard = undefined
  }

  /** Opens the circuit until `reset()`. */
  isolate(): void {
    backgroundDeadlines.clear(this)
    const wasOpen = this.state === 'open'
    this.#resetsAt = Number.POSITIVE_INFINITY
    if (!wasOpen) this.#change('open', undefined)
  }

  /** Closes the circuit and clears its window. */
  reset(): void {
    const isOpenElsewhere = this.#state !== 'closed' && this.#resetsAt !== Number.POSITIVE_INFINITY
    backgroundDeadlines.clear(this)
    this.#close(undefined)
    if (isOpenElsewhere) this.#shared?.closed()
  }

  /** What to save of the circuit; undefined when it is closed. */
  snapshot(): OpenCircuit | undefined {
    if (this.#state === 'closed') return undefined
    return { openings: this.#openings, resetsInMs: this.#resetsAt - now() }
  }

  /** Restores a saved circuit. */
  restore({ openings, resetsInMs }: OpenCircuit): void {
    this.#openings = openings
    this.#resetMs = this.#options.resetMs(Math.max(1, openings))
    // The other machine's clock may be ahead.
    const isIsolated = resetsInMs === Number.POSITIVE_INFINITY
    this.#resetsAt = isIsolated ? resetsInMs : now() + Math.min(resetsInMs, this.#resetMs)
    this.#state = 'open'
    if (!isIsolated) backgroundDeadlines.set(this, this.#resetsAt)
  }

  /** Ends all waiting. Later verdicts are ignored. */
  close(): void {
    this.#period++
    backgroundDeadlines.clear(this)
    this.#lease?.release()
    this.#shared?.leave()
  }
}
