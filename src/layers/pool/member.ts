import { LRUCache } from 'lru-cache'
import { digest, isStackError, now, TimeoutError, type Transport } from '../../core/index.js'
import { Gate } from '../gate.js'

/** One account or address that calls may go to. */
export interface PoolMember {
  /** API key used instead of the client's. Never part of a cache key. */
  apiKey?: string | undefined
  /** Base URL used instead of the client's. */
  baseURL?: string | undefined
  /** Share of the calls relative to other members. From 0.001 to 1000000. @default 1 */
  weight?: number | undefined
}

/** Current state of one member of a `pool()`. */
export interface PoolMemberStats {
  readonly active: number
  /**
   * `paused`: after a 429, for the time that upstream asked for; nothing starts there (with `gate:
   * 'model'`, nothing for the limited models). `ejected`: after failures; used only when no other
   * member is available.
   */
  readonly state: 'ready' | 'paused' | 'ejected'
}

/**
 * As in Envoy's outlier detection, 5 consecutive failures eject a member for 30 s.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
 */
const EJECT_AFTER = 5
const EJECT_MS = 30_000

/** How many models' gates are kept. */
const MODELS_KEPT = 100

/** One account or address: its load, and whether it is healthy. */
export class Member {
  readonly index: number
  readonly weight: number
  readonly transport: Transport
  /** Identifies the member, equally in all processes. */
  readonly identity: string
  active = 0
  /** Decides among equally loaded members: the lowest goes first. */
  turn = 0
  readonly #connections: number
  /** The gate for calls of any model, or of an unknown one. */
  readonly #gate = new Gate()
  readonly #byModel = new LRUCache<string, Gate>({ max: MODELS_KEPT })
  #failures = 0
  #ejectedUntil = 0

  constructor(index: number, { apiKey, baseURL, weight = 1 }: PoolMember, connections: number) {
    this.index = index
    this.weight = weight
    this.#connections = connections
    this.transport = { member: index, apiKey, baseURL, connections }
    // A member without key and address is identified by its index.
    const isNamed = apiKey !== undefined || baseURL !== undefined
    this.identity = isNamed ? digest(apiKey ?? '', baseURL ?? '') : `${index}`
  }

  /** The gate for a model; `''` for calls of any model. */
  gateOf(model: string): Gate {
    if (model === '') return this.#gate
    let gate = this.#byModel.get(model)
    if (gate === undefined) {
      gate = new Gate()
      this.#byModel.set(model, gate)
    }
    return gate
  }

  get state(): PoolMemberStats['state'] {
    if (this.isEjected) return 'ejected'
    const isPaused = this.#gate.isShut || [...this.#byModel.values()].some((gate) => gate.isShut)
    return isPaused ? 'paused' : 'ready'
  }

  get isEjected(): boolean {
    // Checked first because it is nearly always 0.
    return this.#ejectedUntil > 0 && this.#ejectedUntil > now()
  }

  get isFree(): boolean {
    return this.active < this.#connections
  }

  succeeded(): void {
    this.#failures = 0
  }

  failed(error: unknown): void {
    if (isStackError(error)) {
      if (error.refused) return
      // A member with an invalid key fails fast, so choosing the least loaded member would send it
      // everything.
      if (error.code === 'AUTH' || error.code === 'PAYMENT') return this.#eject()
      if (!isFault(error)) return
    }
    if (++this.#failures >= EJECT_AFTER) this.#eject()
  }

  #eject(): void {
    this.#failures = 0
    this.#ejectedUntil = now() + EJECT_MS
  }
}

/** Whether an error is the member's fault, rather than the request's or the reader's. */
function isFault(error: { code: string }): boolean {
  if (error instanceof TimeoutError) return error.phase !== 'read'
  return ['SERVER', 'NETWORK', 'PROTOCOL', 'STREAM'].includes(error.code)
}
