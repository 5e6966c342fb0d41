import { Timer } from '../../core/index.js'
import { OPEN } from './scripts.js'
import type { JobStore } from './store.js'

/** A batch that has not ended, as returned by `OPEN`. */
type OpenBatch = [
  id: string,
  status: string,
  total: string,
  done: string,
  createdAt: string,
  expiresAt: string,
]

/**
 * Takes care of abandoned batches: those that have expired, those that were being cancelled or
 * accepted when a process died, and those whose jobs were lost because Redis lost its last writes.
 */
export class Sweeper {
  readonly #jobs: JobStore
  #timer: Timer | undefined
  #isStopped = false
  /**
   * Whether jobs were missing at the last check. One check is not enough: a result may be in
   * transit.
   */
  #wasShort = false

  constructor(jobs: JobStore) {
    this.#jobs = jobs
  }

  start(): void {
    if (this.#isStopped) return
    void this.#sweep()
      // The next check tries again.
      .catch(() => {})
      .then(() => {
        if (this.#isStopped) return
        this.#timer = new Timer(this.#jobs.stalledMs, () => this.start()).unref()
      })
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.stop()
  }

  async #sweep(): Promise<void> {
    const { connections, keys, stalledMs } = this.#jobs
    const [time, open] = await connections.run<[string, OpenBatch[]]>(
      OPEN,
      [keys.open],
      [keys.batches],
    )
    const now = Number(time)
    const running: string[] = []
    let missing = 0
    for (const [id, status, total, done, createdAt, expiresAt] of open) {
      if (status === 'cancelling') await this.#jobs.close(id, 'cancelled')
      else if (status === 'expiring' || Number(expiresAt) <= now)
        await this.#jobs.close(id, 'expired')
      else if (status === 'running') running.push(id)
      else if (now - Number(createdAt) > stalledMs)
        await this.#jobs.prepareLater(await this.#jobs.queue(), id)
      if (status !== 'preparing') missing += Number(total) - Number(done)
    }
    await this.#lineUpAgain(running, missing)
  }

  /** Enqueues lines again if there are fewer jobs than lines without a result. */
  async #lineUpAgain(running: readonly string[], undone: number): Promise<void> {
    const queue = await this.#jobs.queue()
    const counts = await queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed')
    const jobs = Object.values(counts).reduce((sum, count) => sum + count, 0)
    const isShort = jobs < undone
    if (isShort && this.#wasShort)
      for (const id of running) await this.#jobs.prepareLater(queue, id)
    this.#wasShort = isShort
  }
}
