import { LRUCache } from 'lru-cache'
import {
  type LimitCorrection,
  type LimitOrder,
  type LimitReply,
  type SharedLimits,
  Timer,
  wallTime,
} from '../../core/index.js'
import { windowOf } from './cost-window.js'
import { LentAccount, termsOf, UNITS } from './lent-account.js'
import { type Amounts, fromMillionths, type Limits, NOTHING, type Rate } from './limits.js'
import type { MemoryStore } from './memory-store.js'
import type { LimitLevel, LimitStore, Refusal, Reservation, Spent } from './store.js'

/** A process borrows this share of a limit, for this time, and decides alone within it. */
const LENT_SHARE = 0.05
const LENT_MS = 2_000

/** How many keys are remembered. */
const KEYS_KEPT = 10_000

export interface SharedStoreOptions {
  /** Whether to ask for every call instead of borrowing. */
  readonly exact: boolean
  /** Decides while the shared state is unreachable. */
  readonly alone: MemoryStore
}

/**
 * Levels that several processes share. A process grants what it has borrowed without asking. What
 * is left when the loan ends is returned.
 */
export class SharedStore implements LimitStore {
  readonly #shared: SharedLimits
  readonly #exact: boolean
  readonly #alone: MemoryStore
  readonly #accounts = new LRUCache<string, LentAccount>({
    max: KEYS_KEPT,
    dispose: (account) => this.#giveBack(account),
  })

  constructor(shared: SharedLimits, { exact, alone }: SharedStoreOptions) {
    this.#shared = shared
    this.#exact = exact
    this.#alone = alone
  }

  get keys(): number {
    return this.#accounts.size
  }

  reserve(
    key: string,
    amounts: Amounts,
    limits: Limits,
    ahead: Amounts,
  ): Granted | Refusal | Promise<Granted | Refusal> {
    const account = this.#accountOf(key)
    if (ahead.requests > 0) return account.refusalBehind(amounts, limits, ahead)
    if (account.takes(amounts, limits)) return new Granted(account, amounts, limits)
    return this.#ask(account, amounts, limits)
  }

  settle(reservation: Reservation, taken: Amounts): Spent | Promise<Spent | undefined> | undefined {
    const { account, amounts, limits, windowStart, local } = reservation as Granted
    if (local !== undefined) return this.#alone.settle(local, taken)
    const corrections = UNITS.flatMap((unit): LimitCorrection[] => {
      const amount = taken[unit] - amounts[unit]
      const of = termsOf(unit, limits, windowStart)
      const isNews = amount !== 0 || (unit === 'cost' && account.reaches(limits, windowStart))
      return of === undefined || !isNews ? [] : [{ unit, amount, of }]
    })
    if (corrections.length === 0) return undefined
    const { cost } = limits
    return this.#shared.correct(account.key, corrections).then((spent) => {
      return spent === undefined || cost === undefined
        ? undefined
        : { spent: fromMillionths(spent), limit: fromMillionths(cost.limit) }
    })
  }

  levels(key: string, limits: Limits): readonly LimitLevel[] {
    return this.#accounts.peek(key)?.levels(limits) ?? []
  }

  /** Returns what is borrowed. */
  close(): void {
    for (const account of this.#accounts.values()) this.#giveBack(account)
  }

  async #ask(account: LentAccount, amounts: Amounts, limits: Limits): Promise<Granted | Refusal> {
    // While one call of a key borrows, its other calls ask only for themselves.
    const borrows = !this.#exact && !account.isBorrowing
    const orders = ordersOf(amounts, limits, borrows)
    if (borrows) account.isBorrowing = true
    const replies = await this.#shared.take(account.key, orders)
    if (borrows) account.isBorrowing = false
    if (replies === null) return this.#decideAlone(account, amounts, limits)
    account.heard(orders, replies)
    const refusal = refusalIn(orders, replies, limits)
    if (refusal !== undefined) return refusal
    if (account.lend(orders, replies, amounts))
      new Timer(LENT_MS, () => this.#giveBack(account)).unref()
    return new Granted(account, amounts, limits)
  }

  #decideAlone(account: LentAccount, amounts: Amounts, limits: Limits): Granted | Refusal {
    const share = shareOf(limits, this.#shared.processes)
    const decision = this.#alone.reserve(account.key, amounts, share, NOTHING)
    return decision.granted
      ? new Granted(account, amounts, limits, decision)
      : { ...decision, alone: true }
  }

  #giveBack(account: LentAccount): void {
    const corrections = account.takeBack()
    if (corrections.length > 0) void this.#shared.correct(account.key, corrections)
  }

  #accountOf(key: string): LentAccount {
    let account = this.#accounts.get(key)
    if (account === undefined) {
      account = new LentAccount(key)
      this.#accounts.set(key, account)
    }
    return account
  }
}

class Granted implements Reservation {
  readonly granted = true
  readonly account: LentAccount
  readonly amounts: Amounts
  readonly limits: Limits
  /** The window that the cost belongs to. */
  readonly windowStart: number
  /** Reservation in this process's own store, if it decided alone. */
  readonly local: Reservation | undefined

  constructor(account: LentAccount, amounts: Amounts, limits: Limits, local?: Reservation) {
    this.account = account
    this.amounts = amounts
    this.limits = limits
    this.windowStart = account.windowStart
    this.local = local
  }

  get alone(): boolean {
    return this.local !== undefined
  }
}

function ordersOf(amounts: Amounts, limits: Limits, borrows: boolean): LimitOrder[] {
  const { start } = limits.cost === undefined ? { start: 0 } : windowOf(limits.cost.per, wallTime())
  return UNITS.flatMap((unit): LimitOrder[] => {
    const of = termsOf(unit, limits, start)
    if (of === undefined) return []
    const need = amounts[unit]
    const lent = borrows ? Math.floor((limits[unit]?.limit ?? 0) * LENT_SHARE) : 0
    return [{ unit, need, want: Math.max(need, lent), of }]
  })
}

/** The limit with the longest wait; undefined when all grant the call. */
function refusalIn(
  orders: readonly LimitOrder[],
  replies: readonly LimitReply[],
  limits: Limits,
): Refusal | undefined {
  let longest: Refusal | undefined
  for (const [i, { unit }] of orders.entries()) {
    const { waitMs: retryAfterMs } = replies[i] as LimitReply
    if (retryAfterMs === 0) continue
    if (unit === 'cost') return { granted: false, unit, rate: undefined, retryAfterMs }
    if (longest === undefined || retryAfterMs > longest.retryAfterMs) {
      const name = unit as 'requests' | 'tokens'
      longest = { granted: false, unit: name, rate: limits[name], retryAfterMs }
    }
  }
  return longest
}

/** What one of this many processes may let through on its own. */
function shareOf({ requests, tokens, cost }: Limits, processes: number): Limits {
  if (processes === 1) return { requests, tokens, cost }
  return {
    requests: requests && rateOf(requests, processes),
    tokens: tokens && rateOf(tokens, processes),
    cost: cost && { ...cost, limit: Math.floor(partOf(cost.limit, processes)) },
  }
}

/** At least 1, so that each process can do something, but never more than the whole limit. */
const partOf = (limit: number, processes: number): number =>
  Math.min(limit, Math.max(1, limit / processes))

function rateOf({ limit, intervalMs, capacity }: Rate, processes: number): Rate {
  const share = partOf(limit, processes)
  return {
    limit: share,
    intervalMs,
    capacity: partOf(capacity, processes),
    perMs: share / intervalMs,
  }
}
