import { ClosedError, Link, Running, type Work } from '../../core/index.js'

/** What can be cut: a request, or a WebSocket. */
export interface Cuttable {
  cut(reason: unknown): void
}

/** How long what was cut may take to give back what it holds. */
const CUT_GRACE_MS = 1_000

class Entry extends Link implements Work {
  readonly #cuttable: Cuttable

  constructor(cuttable: Cuttable) {
    super()
    this.#cuttable = cuttable
  }

  abort(reason: unknown): void {
    this.#cuttable.cut(reason)
  }
}

/** What is in progress, for a close that waits and then cuts. */
export class InProgress {
  readonly #running = new Running()

  begin(cuttable: Cuttable): { end(): boolean } {
    const entry = new Entry(cuttable)
    this.#running.add(entry)
    return { end: () => this.#running.delete(entry) }
  }

  /** Resolves when nothing is in progress any more; what is left after `ms` is cut. */
  async finish(ms: number): Promise<void> {
    if (await this.#running.emptied(ms)) return
    this.#running.cut(new ClosedError('The server has shut down.', { refused: false }))
    await this.#running.emptied(CUT_GRACE_MS)
  }
}
