import { isStackError, now, TimeoutError, type Transport } from '../../core/index.js'

/** One account or address that calls may go to. */
export interface PoolMember {
  /** Used instead of the client's key. It is never part of a cache key. */
  apiKey?: string | undefined
  /** Used instead of the client's address. */
  baseURL?: string | undefined
  /** Share of the calls beside the other members. @default 1 */
  weight?: number | undefined
}

/** One member of a `pool()` as it is now. */
export interface PoolMemberStats {
  readonly active: number
  /**
   * `paused` after a 429, `ejected` after failures; both are used only when no other member is
   * free.
   */
  readonly state: 'ready' | 'paused' | 'ejected'
}

/**
 * Envoy's outlier detection: 5 consecutive failures eject for 30 s.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
 */
const EJECT_AFTER = 5
const EJECT_MS = 30_000
/** After a 429 that names no time: what the gateway's own `Retry-After` for a busy account says. */
const PAUSE_MS = 1_000

/** One account or address: how much it has to do, and whether it is fit for more. */
export class Member {
  readonly index: number
  readonly weight: number
  readonly transport: Transport
  active = 0
  /** Whose turn it is among equally loaded members: the lowest. */
  turn = 0
  readonly #connections: number
  #failures = 0
  #ejectedUntil = 0
  #pausedUntil = 0

  constructor(index: number, { apiKey, baseURL, weight = 1 }: PoolMember, connections: number) {
    this.index = index
    this.weight = weight
    this.#connections = connections
    this.transport = { member: index, apiKey, baseURL, connections }
  }

  get state(): PoolMemberStats['state'] {
    // Of nearly every member always.
    if (this.#ejectedUntil === 0 && this.#pausedUntil === 0) return 'ready'
    const at = now()
    return this.#ejectedUntil > at ? 'ejected' : this.#pausedUntil > at ? 'paused' : 'ready'
  }

  get isFree(): boolean {
    return this.active < this.#connections
  }

  get isFit(): boolean {
    return this.isFree && this.state === 'ready'
  }

  succeeded(): void {
    this.#failures = 0
  }

  failed(error: unknown): void {
    if (isStackError(error)) {
      if (error.refused) return
      if (error.code === 'RATE_LIMITED') return this.#pause(error.retryAfter)
      // A member whose key is refused answers at once, so least-loaded choice would send it
      // everything.
      if (error.code === 'AUTH' || error.code === 'PAYMENT') return this.#eject()
      if (!isFault(error)) return
    }
    if (++this.#failures >= EJECT_AFTER) this.#eject()
  }

  /** The longest pause holds: one without a time does not shorten one that was asked for. */
  #pause(ms = PAUSE_MS): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, now() + ms)
  }

  #eject(): void {
    this.#failures = 0
    this.#ejectedUntil = now() + EJECT_MS
  }
}

/** Whether an outcome counts against a member: it failed, rather than the request or its reader. */
function isFault(error: { code: string }): boolean {
  if (error instanceof TimeoutError) return error.phase !== 'read'
  return ['SERVER', 'NETWORK', 'PROTOCOL', 'STREAM'].includes(error.code)
}
