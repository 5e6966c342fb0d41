import Opossum from 'opossum'
import type { Trace } from '../../core/index.js'

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
  readonly window: number
  readonly trial: boolean
}

/**
 * One circuit: opossum counts and decides, from verdicts given at the end of each answer. What
 * opossum leaves to its user is done here: the one trial call of the half-open state, verdicts that
 * come too late, and a fresh window at each close.
 */
export class Circuit {
  readonly #options: CircuitOptions
  #opossum: Opossum
  /**
   * Grows with every opening and closing, so that verdicts of calls that began before are told
   * apart.
   */
  #window = 0
  #openedAt = 0
  #trialAt: number | undefined
  #failedInWindow = false
  #trace: Trace | undefined
  #permit: Permit = { window: 0, trial: false }

  constructor(options: CircuitOptions) {
    this.#options = options
    this.#opossum = this.#fresh()
  }

  get state(): BreakerState {
    return this.#opossum.opened ? 'open' : this.#opossum.halfOpen ? 'half-open' : 'closed'
  }

  /** Whether it is not closed, or calls have ended in its window. */
  get isActive(): boolean {
    return this.state !== 'closed' || this.#opossum.status.window.some(({ fires }) => fires > 0)
  }

  /** A permit, or the milliseconds after which asking again is worth it. */
  enter(): Permit | number {
    const now = performance.now()
    if (this.#opossum.opened) return Math.max(1, this.#openedAt + this.#options.resetMs - now)
    if (!this.#opossum.halfOpen) return this.#closedPermit()
    if (this.#trialAt !== undefined) {
      const left = this.#trialAt + this.#options.resetMs - now
      if (left > 0) return left
      // A trial without a verdict for that long gives its permit back: its own late verdict belongs
      // to an old window.
      this.#window++
    }
    this.#trialAt = now
    return { window: this.#window, trial: true }
  }

  /**
   * The verdict on the call with this permit; `undefined`: none, it says nothing about upstream.
   */
  settle(permit: Permit, verdict: 'success' | 'failure' | undefined, trace?: Trace): void {
    if (permit.window !== this.#window) return
    this.#trace = trace
    if (permit.trial) this.#trialAt = undefined
    if (verdict === undefined) return
    if (!permit.trial) {
      // All that a verdict does to a closed circuit is to be counted, and opossum counts by these
      // events of its own; `fire()` adds promises.
      this.#opossum.emit('fire')
      this.#opossum.emit(verdict)
      if (verdict === 'failure') this.#failedInWindow = true
      if (this.#failedInWindow) this.#openIfDue()
      return
    }
    // A failure is thrown in the action and a success told by a thenable that answers at once, so
    // that opossum decides before the caller knows.
    this.#opossum.fire(verdict).catch(() => {})
    if (verdict === 'success') this.#renew()
  }

  /** One object for all calls of a window. */
  #closedPermit(): Permit {
    if (this.#permit.window !== this.#window) this.#permit = { window: this.#window, trial: false }
    return this.#permit
  }

  close(): void {
    // A late verdict must not open a new window, whose interval nobody would clear.
    this.#window++
    this.#opossum.shutdown()
  }

  #fresh(): Opossum {
    const { windowMs, resetMs, onStateChange } = this.#options
    const opossum = new Opossum(verdictAtOnce, {
      timeout: false,
      rollingCountTimeout: windowMs,
      resetTimeout: resetMs,
      // Each failure would sort the window's latencies, and a snapshot run every second.
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    })
    opossum.on('open', () => {
      this.#openedAt = performance.now()
      this.#window++
      this.#trialAt = undefined
      onStateChange('open', this.#trace)
    })
    opossum.on('halfOpen', () => onStateChange('half-open', this.#trace))
    return opossum
  }

  /** Closed again: what was counted before says nothing about upstream as it is now. */
  #renew(): void {
    this.#opossum.shutdown()
    this.#window++
    this.#failedInWindow = false
    this.#opossum = this.#fresh()
    this.#options.onStateChange('closed', this.#trace)
  }

  /**
   * opossum would look at the rate at a failure only, and open above the threshold only: the call
   * that completes the minimum may be a success, and half of the calls is half.
   */
  #openIfDue(): void {
    const { minimumCalls, failureRate } = this.#options
    let calls = 0
    let failures = 0
    for (const slice of this.#opossum.status.window) {
      calls += slice.fires
      failures += slice.failures
    }
    if (failures === 0) this.#failedInWindow = false
    else if (calls >= minimumCalls && failures / calls >= failureRate) this.#opossum.open()
  }
}

const FAILURE = new Error('A call failed.')

function verdictAtOnce(verdict: 'success' | 'failure'): Promise<void> {
  if (verdict === 'failure') throw FAILURE
  const told = {
    // biome-ignore lint/suspicious/noThenProperty: a thenable on purpose: it answers before it returns
    then(tell: () => void) {
      tell()
      return { catch: () => {} }
    },
  }
  return told as unknown as Promise<void>
}
