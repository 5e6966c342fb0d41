import { LinkedList } from '../../../core/index.js'
import type { Tenant } from './tenant.js'

/** Tolerance for sums of fractional weights. */
const ROUNDING = 1e-6

/** Tenants by their number of waiting calls. Finding and moving one takes constant time. */
export class LongestLines {
  /** Tenants of equal weight can be compared by that number alone. */
  readonly #byWeight = new Map<number, LinesOfWeight>()
  /** Sum of the weights of all waiting tenants. */
  #weights = 0

  /** The tenant's number of waiting calls has changed from `before`. */
  moved(tenant: Tenant, before: number): void {
    const { weight, waiting } = tenant
    let lines = this.#byWeight.get(weight)
    if (lines === undefined) {
      lines = new LinesOfWeight()
      this.#byWeight.set(weight, lines)
    }
    lines.move(tenant, before)
    if (before === 0) this.#weights += weight
    if (waiting === 0) this.#weights -= weight
  }

  /**
   * The tenant that must make room for a call of `newcomer`: the one furthest above its share of
   * `places`. Undefined when the newcomer has used up its own share.
   */
  above(newcomer: Tenant, places: number): Tenant | undefined {
    const weights = this.#weights + (newcomer.waiting === 0 ? newcomer.weight : 0)
    const share = (weight: number) => (places * weight) / weights
    if (newcomer.waiting + 1 > share(newcomer.weight) + ROUNDING) return undefined
    let most = ROUNDING
    let above: Tenant | undefined
    for (const [weight, { longest }] of this.#byWeight) {
      const excess = longest === undefined ? 0 : longest.waiting - share(weight)
      if (excess <= most) continue
      most = excess
      above = longest
    }
    return above
  }
}

/** Lists of the tenants with one waiting call, with two, and so on. */
class LinesOfWeight {
  readonly #byLength: LinkedList<Tenant>[] = []

  get longest(): Tenant | undefined {
    return this.#byLength.at(-1)?.first
  }

  move(tenant: Tenant, before: number): void {
    if (before > 0) this.#byLength[before - 1]?.remove(tenant)
    const { waiting } = tenant
    if (waiting > 0) {
      this.#byLength[waiting - 1] ??= new LinkedList()
      this.#byLength[waiting - 1]?.add(tenant)
    }
    while (this.#byLength.length > 0 && this.longest === undefined) this.#byLength.pop()
  }
}
