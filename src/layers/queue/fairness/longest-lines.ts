import { LinkedList } from '../../../core/index.js'
import type { Tenant } from './tenant.js'

/** Sums of weights that are no integers are not exact. */
const ROUNDING = 1e-6

/** Tenants by the number of their waiting calls, each found and moved in the same few steps. */
export class LongestLines {
  /** Those of one weight compare by that number alone. */
  readonly #byWeight = new Map<number, LinesOfWeight>()
  /** The weights of all tenants that wait. */
  #weights = 0

  /** A tenant has so many calls waiting as it says now, and had `before`. */
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
   * Who should make room for a call of this tenant: the one above its share of `places` by most,
   * while the newcomer is still within its own.
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

/** Lists of the tenants with one call waiting, with two, and so on. */
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
