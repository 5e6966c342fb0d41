import { DeadlineHeap, type Expiring, NOT_WAITING, now, wallTime } from '../../core/index.js'
import { Bucket } from './bucket.js'
import { CostWindow } from './cost-window.js'
import { type Amounts, fromMillionths, type Limits, type Rate } from './limits.js'
import type { LimitLevel, LimitStore, Refusal, Reservation, Spent } from './store.js'

/** How many keys are remembered. */
const KEYS_KEPT = 10_000

/** Later than any real time. */
const FAR = 1e15

/** The levels of all keys in this process. */
export class MemoryStore implements LimitStore {
  readonly #accounts = new Map<string, Account>()
  /**
   * All keys, ordered by when they become idle, or by an earlier time. Times are updated only when
   * space is needed.
   */
  readonly #idle = new DeadlineHeap()
  readonly #keysKept: number

  constructor({ keysKept = KEYS_KEPT }: { keysKept?: number | undefined } = {}) {
    this.#keysKept = keysKept
  }

  get keys(): number {
    return this.#accounts.size
  }

  reserve(key: string, amounts: Amounts, limits: Limits, ahead: Amounts): Granted | Refusal {
    const at = now()
    const account = this.#accounts.get(key) ?? this.#open(key, at)
    return account.reserve(amounts, limits, ahead, at)
  }

  settle(reservation: Reservation, taken: Amounts): Spent | undefined {
    const granted = reservation as Granted
    const { account } = granted
    const spent = account.settle(granted, taken)
    if (!account.isOpen && account.idleFrom >= FAR) this.#line(account, account.idleAt)
    return spent
  }

  levels(key: string, limits: Limits): readonly LimitLevel[] {
    return this.#accounts.get(key)?.levels(limits) ?? []
  }

  /** Adds a key. Evicts others if there are too many. */
  #open(key: string, at: number): Account {
    while (this.#accounts.size >= this.#keysKept) this.#forgetOne()
    const account = new Account(key)
    this.#accounts.set(key, account)
    this.#line(account, at)
    return account
  }

  /**
   * Evicts the key that has been idle longest. If that key is not idle, updates its time instead.
   */
  #forgetOne(): void {
    const account = this.#idle.takeFirst() as Account
    const idleAt = account.isOpen ? FAR : account.idleAt
    if (idleAt > account.idleFrom) this.#line(account, idleAt)
    else this.#accounts.delete(account.key)
  }

  #line(account: Account, idleFrom: number): void {
    // A key that was evicted while one of its calls was running is no longer in the heap.
    if (this.#accounts.get(account.key) !== account) return
    if (account.deadlineSlot !== NOT_WAITING) this.#idle.remove(account)
    account.idleFrom = idleFrom
    this.#idle.add(account, idleFrom)
  }
}

/** What a call has taken from an account, until it ends. */
class Granted implements Reservation {
  readonly granted = true
  readonly account: Account
  readonly amounts: Amounts
  /** The limits that applied to the call. */
  readonly limits: Limits
  /** The window that the cost belongs to. */
  readonly window: number

  constructor(account: Account, amounts: Amounts, limits: Limits, window: number) {
    this.account = account
    this.amounts = amounts
    this.limits = limits
    this.window = window
  }
}

/** The levels of one key. */
class Account implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly key: string
  /** Its time in the heap of idle keys. */
  idleFrom = 0
  #requests: Bucket | undefined
  #tokens: Bucket | undefined
  #cost: CostWindow | undefined
  /** Number of calls in progress. */
  #calls = 0

  constructor(key: string) {
    this.key = key
  }

  reserve(amounts: Amounts, limits: Limits, ahead: Amounts, at: number): Granted | Refusal {
    const { requests, tokens, cost } = limits
    // Checked first, because waiting does not help.
    if (cost !== undefined && !this.#hasBudget(cost, amounts.cost))
      return this.#overBudget(amounts.cost)
    let unit: 'requests' | 'tokens' = 'requests'
    let waitMs = 0
    if (requests !== undefined) {
      this.#requests = filled(this.#requests, requests, at)
      waitMs = this.#requests.waitMs(amounts.requests, ahead.requests)
    }
    if (tokens !== undefined) {
      this.#tokens = filled(this.#tokens, tokens, at)
      const forTokens = this.#tokens.waitMs(amounts.tokens, ahead.tokens)
      if (forTokens > waitMs || requests === undefined) {
        unit = 'tokens'
        waitMs = forTokens
      }
    }
    if (waitMs > 0 || ahead.requests > 0)
      return { granted: false, unit, rate: limits[unit], retryAfterMs: waitMs }
    return this.#take(amounts, limits)
  }

  #hasBudget(cost: NonNullable<Limits['cost']>, amount: number): boolean {
    this.#cost ??= new CostWindow()
    this.#cost.enter(cost, wallTime())
    return amount === 0 || this.#cost.hasRoomFor(amount)
  }

  #overBudget(amount: number): Refusal {
    const window = this.#cost as CostWindow
    const retryAfterMs = window.mayEverTake(amount)
      ? window.end - wallTime()
      : Number.POSITIVE_INFINITY
    return { granted: false, unit: 'cost', rate: undefined, retryAfterMs }
  }

  #take(amounts: Amounts, limits: Limits): Granted {
    if (limits.requests !== undefined) this.#requests?.take(amounts.requests)
    if (limits.tokens !== undefined) this.#tokens?.take(amounts.tokens)
    if (limits.cost !== undefined) this.#cost?.reserve(amounts.cost)
    this.#calls++
    return new Granted(this, amounts, limits, this.#cost?.number ?? 0)
  }

  settle({ amounts, limits, window: number }: Granted, taken: Amounts): Spent | undefined {
    this.#calls--
    // A limit that did not apply to the call is not corrected.
    if (limits.requests !== undefined) correct(this.#requests, amounts.requests, taken.requests)
    if (limits.tokens !== undefined) correct(this.#tokens, amounts.tokens, taken.tokens)
    const window = this.#cost
    if (window === undefined || limits.cost === undefined) return undefined
    return window.settle(number, amounts.cost, taken.cost)
      ? { spent: fromMillionths(window.spent), limit: fromMillionths(window.limit) }
      : undefined
  }

  levels({ requests, tokens }: Limits): LimitLevel[] {
    const levels: LimitLevel[] = []
    if (requests && this.#requests) levels.push(levelOf('requests', requests, this.#requests))
    if (tokens && this.#tokens) levels.push(levelOf('tokens', tokens, this.#tokens))
    return levels
  }

  get isOpen(): boolean {
    return this.#calls > 0
  }

  /** When it will be equal to a new account. */
  get idleAt(): number {
    const full = Math.max(this.#requests?.fullAt ?? 0, this.#tokens?.fullAt ?? 0)
    const window = this.#cost
    if (window === undefined || window.isUnused) return Math.min(full, FAR - 1)
    return Math.min(Math.max(full, now() + window.end - wallTime()), FAR - 1)
  }

  /** Unused: the heap serves only as an order here. */
  expire(): void {}
}

function levelOf(unit: LimitLevel['unit'], rate: Rate, bucket: Bucket): LimitLevel {
  const at = now()
  const { limit, intervalMs } = rate
  const remaining = bucket.remaining(at)
  return { unit, limit, intervalMs, remaining, resetMs: Math.max(0, bucket.fullAt - at) }
}

function correct(bucket: Bucket | undefined, estimated: number, taken: number): void {
  if (taken < estimated) bucket?.giveBack(estimated - taken)
  else if (taken > estimated) bucket?.takeMore(taken - estimated, now())
}

function filled(bucket: Bucket | undefined, rate: Rate, at: number): Bucket {
  if (bucket === undefined) return new Bucket(rate, at)
  bucket.fill(at, rate)
  return bucket
}
