import { ClosedError, Link, Running, type Work } from '../../core/index.js'

/** Work that can be aborted: a request or a WebSocket. */
export interface Cuttable {
  cut(reason: unknown): void
}

/** How long aborted work may take to release its resources. Milliseconds. */
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

/** Tracks work in progress, so that a close can wait for it and then abort the rest. */
export class InProgress {
  readonly #running = new Running()

  begin(cuttable: Cuttable): { end(): boolean } {
    const entry = new Entry(cuttable)
    this.#running.add(entry)
    return { end: () => this.#running.delete(entry) }
  }

  /** Resolves when all work has ended. Aborts what is left after `ms`. */
  async finish(ms: number): Promise<void> {
    if (await this.#running.emptied(ms)) return
    this.#running.cut(new ClosedError('The server has shut down.', { refused: false }))
    await this.#running.emptied(CUT_GRACE_MS)
  }
}
