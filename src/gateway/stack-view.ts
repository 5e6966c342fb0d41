import type { Blossom, ClientInternals } from '../client/client.js'
import { LAYERS, type LayerEntry } from '../core/index.js'
import type { BreakerStats } from '../layers/breaker/index.js'
import type { CacheLayer } from '../layers/cache/index.js'
import type { PoolStats } from '../layers/pool/index.js'
import type { QueueStats } from '../layers/queue/index.js'

/**
 * Finds the client's layers by kind, whatever their names. If there are several of a kind, the
 * outermost is used.
 */
export class StackView {
  readonly #entries: readonly LayerEntry[]

  constructor(blossom: Blossom<readonly unknown[]>) {
    this.#entries = (blossom as unknown as ClientInternals)[LAYERS]()
  }

  has(kind: string): boolean {
    return this.#find(kind) !== undefined
  }

  namesOf(kind: string): readonly string[] {
    return this.#entries.filter((entry) => entry.kind === kind).map(({ name }) => name)
  }

  get breaker(): BreakerStats | undefined {
    return this.#stats('breaker')
  }

  get queue(): QueueStats | undefined {
    return this.#stats('queue')
  }

  get pool(): PoolStats | undefined {
    return this.#stats('pool')
  }

  /** Empties every cache in the stack. */
  async clearCaches(): Promise<void> {
    for (const { kind, layer } of this.#entries)
      if (kind === 'cache') await (layer as CacheLayer<string>).clear()
  }

  #find(kind: string): LayerEntry | undefined {
    return this.#entries.find((entry) => entry.kind === kind)
  }

  #stats<Stats>(kind: string): Stats | undefined {
    return this.#find(kind)?.stats() as Stats | undefined
  }
}
