import type { EventOutcome, EventUsage } from '../../core/index.js'
import type { Labels, Sample } from './families.js'
import { Histogram } from './histogram.js'

/** Counts of calls or attempts by outcome. */
class Outcomes {
  #complete = 0
  #left = 0
  readonly #failed = new Map<string, number>()

  add(outcome: EventOutcome, code: string): void {
    if (outcome === 'complete') this.#complete++
    else if (outcome === 'failed') this.#failed.set(code, (this.#failed.get(code) ?? 0) + 1)
    // Aborting a call and leaving its stream both mean that the caller no longer wants it.
    else this.#left++
  }

  samples(labels: Labels): Sample[] {
    const sample = (outcome: string, code: string, value: number): Sample => ({
      labels: { ...labels, outcome, code },
      value,
    })
    return [
      ...(this.#complete > 0 ? [sample('complete', '', this.#complete)] : []),
      ...[...this.#failed].map(([code, count]) => sample('failed', code, count)),
      ...(this.#left > 0 ? [sample('left', '', this.#left)] : []),
    ]
  }
}

/** Counts, tokens and cost of the calls of one tenant, or of all tenants. */
export class Spending {
  readonly calls = new Outcomes()
  #input = 0
  #output = 0
  #cached = 0
  #reasoning = 0
  #isCounted = false
  #cost: number | undefined

  add({ input, output, cached, reasoning }: EventUsage, cost: number | undefined): void {
    this.#isCounted = true
    this.#input += input
    this.#output += output
    if (cached !== undefined) this.#cached += cached
    if (reasoning !== undefined) this.#reasoning += reasoning
    if (cost !== undefined) this.#cost = (this.#cost ?? 0) + cost
  }

  tokens(labels: Labels): Sample[] {
    if (!this.#isCounted) return []
    const directions = {
      input: this.#input,
      output: this.#output,
      cached: this.#cached,
      reasoning: this.#reasoning,
    }
    return Object.entries(directions).map(([direction, value]) => ({
      labels: { ...labels, direction },
      value,
    }))
  }

  cost(labels: Labels): Sample[] {
    return this.#cost === undefined ? [] : [{ labels, value: this.#cost }]
  }
}

/** The calls of one operation with one model. */
export class Work {
  readonly labels: Labels
  readonly duration = new Histogram()
  readonly firstToken = new Histogram()
  readonly attempts = new Outcomes()
  readonly #spending = new Map<string, Spending>()

  constructor(labels: Labels) {
    this.labels = labels
  }

  /** The counts of a tenant, or of all tenants if they are not distinguished. */
  of(tenant: string): Spending {
    let spending = this.#spending.get(tenant)
    if (spending === undefined) {
      spending = new Spending()
      this.#spending.set(tenant, spending)
    }
    return spending
  }

  /** Samples of each tenant. Labels contain the tenant if tenants are distinguished. */
  spending(
    hasTenants: boolean,
    samples: (spending: Spending, labels: Labels) => readonly Sample[],
  ): Sample[] {
    return [...this.#spending].flatMap(([tenant, spending]) =>
      samples(spending, hasTenants ? { ...this.labels, tenant } : this.labels),
    )
  }
}
