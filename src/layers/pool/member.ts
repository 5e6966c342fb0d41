import { LRUCache } from 'lru-cache'
import { digest, isStackError, now, TimeoutError, type Transport } from '../../core/index.js'
import { Gate } from '../gate.js'

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
   * `paused` after a 429, for the time that upstream asked for: nothing begins there (with `gate:
   * 'model'`, nothing of the models that it limits). `ejected` after failures: it is used only when
   * no other member is free.
   */
  readonly state: 'ready' | 'paused' | 'ejected'
}

/**
 * Envoy's outlier detection: 5 consecutive failures eject for 30 s.
 * https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
 */
const EJECT_AFTER = 5
const EJECT_MS = 30_000

/** Models whose gates are remembered. */
const MODELS_KEPT = 100

/** One account or address: how much it has to do, and whether it is fit for more. */
export class Member {
  readonly index: number
  readonly weight: number
  readonly transport: Transport
  /** The same in all processes with this member. */
  readonly identity: string
  active = 0
  /** Whose turn it is among equally loaded members: the lowest. */
  turn = 0
  readonly #connections: number
  /** For all calls whose model does not matter, or is not known. */
  readonly #gate = new Gate()
  readonly #byModel = new LRUCache<string, Gate>({ max: MODELS_KEPT })
  #failures = 0
  #ejectedUntil = 0

  constructor(index: number, { apiKey, baseURL, weight = 1 }: PoolMember, connections: number) {
    this.index = index
    this.weight = weight
    this.#connections = connections
    this.transport = { member: index, apiKey, baseURL, connections }
    // Of members without either, their place.
    const isNamed = apiKey !== undefined || baseURL !== undefined
    this.identity = isNamed ? digest(apiKey ?? '', baseURL ?? '') : `${index}`
  }

  /** The gate for calls of a model; `''`: of calls whose model does not matter. */
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
    // Of nearly every member always.
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
      // A member whose key is refused answers at once, so least-loaded choice would send it
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

/** Whether an outcome counts against a member: it failed, rather than the request or its reader. */
function isFault(error: { code: string }): boolean {
  if (error instanceof TimeoutError) return error.phase !== 'read'
  return ['SERVER', 'NETWORK', 'PROTOCOL', 'STREAM'].includes(error.code)
}
