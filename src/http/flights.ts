import { ClosedError, Timer } from '../core/index.js'

/** What can be cut: a request, or a WebSocket. */
export interface Cuttable {
  cut(reason: unknown): void
}

/** What is under way, for a close that waits and then cuts. */
export class Flights {
  readonly #all = new Set<Cuttable>()
  #onEmpty: (() => void) | undefined

  begin(cuttable: Cuttable): { end(): boolean } {
    this.#all.add(cuttable)
    return {
      end: () => {
        const was = this.#all.delete(cuttable)
        if (this.#all.size === 0) this.#onEmpty?.()
        return was
      },
    }
  }

  /** Resolves when nothing is under way any more; what is left after `ms` is cut. */
  async land(ms: number): Promise<void> {
    if (await this.#emptied(ms)) return
    for (const cuttable of [...this.#all]) cuttable.cut(new ClosedError('The server has shut down.', { refused: false }))
    await this.#emptied(1_000)
  }

  #emptied(ms: number): Promise<boolean> {
    if (this.#all.size === 0) return Promise.resolve(true)
    return new Promise((resolve) => {
      const settle = (done: boolean) => {
        timer.stop()
        this.#onEmpty = undefined
        resolve(done)
      }
      const timer = new Timer(ms, () => settle(false))
      this.#onEmpty = () => settle(true)
    })
  }
}
