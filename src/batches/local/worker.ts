import {
  ClosedError,
  cancelOf,
  inTime,
  type JobResult,
  type JobRunner,
  type JobWorker,
  sleep,
  type UnrunReason,
} from '../../core/index.js'
import type { LocalBatch, LocalLine } from './batch.js'

/** The source of a worker's lines. */
interface Source {
  next():
    | {
        readonly batch: LocalBatch
        readonly line: LocalLine
        readonly reason: UnrunReason | undefined
      }
    | undefined
  putBack(batch: LocalBatch, line: LocalLine, laterMs: number): void
  closed(): void
}

/** Delay before storing a result is retried. Milliseconds. */
const AGAIN_MS = 1_000
/** Time limit for an aborted call to end. Milliseconds. */
const GRACE_MS = 5_000

/** Runs the lines of this process's batches. */
export class LocalWorker implements JobWorker {
  readonly #runner: JobRunner
  readonly #concurrency: number
  readonly #source: Source
  readonly #aborting = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #isClosed = false
  /** Whether lines that still run after their abort are ignored. */
  #isAbandoned = false

  constructor(runner: JobRunner, concurrency: number, source: Source) {
    this.#runner = runner
    this.#concurrency = concurrency
    this.#source = source
  }

  /** Called when there may be waiting lines. */
  wake(): void {
    while (!this.#isClosed && this.#running.size < this.#concurrency) {
      const next = this.#source.next()
      if (next === undefined) return
      const running = this.#take(next.batch, next.line, next.reason).finally(() => {
        this.#running.delete(running)
        this.wake()
      })
      this.#running.add(running)
    }
  }

  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true
    const ended = () => Promise.all(this.#running)
    await inTime(ended, timeoutMs, () => this.#aborting.abort(new ClosedError()))
    await inTime(ended, GRACE_MS, () => {
      this.#isAbandoned = true
    })
    this.#source.closed()
  }

  async #take(batch: LocalBatch, line: LocalLine, reason: UnrunReason | undefined): Promise<void> {
    const { key } = line
    if (reason !== undefined)
      return this.#finish(batch, line, this.#runner.unrun({ batch: batch.id, key }, reason))
    line.runs++
    batch.shelf.begin(key)
    const outcome = await this.#run(batch, line)
    if (this.#isAbandoned) return
    if (!('laterMs' in outcome)) return this.#finish(batch, line, outcome)
    line.runs--
    batch.shelf.putBack(key)
    this.#source.putBack(batch, line, outcome.laterMs)
  }

  async #run(batch: LocalBatch, line: LocalLine): ReturnType<JobRunner['run']> {
    try {
      return await this.#runner.run(await batch.job(line), this.#aborting.signal)
    } catch {
      // Reading the text failed; it may succeed later.
      return { laterMs: AGAIN_MS }
    }
  }

  /** Stores a result, and retries until that succeeds. */
  async #finish(batch: LocalBatch, { key }: LocalLine, result: JobResult): Promise<void> {
    for (;;) {
      try {
        return await batch.finish([{ key, result }])
      } catch {
        if (this.#aborting.signal.aborted) return
        await sleep(AGAIN_MS, cancelOf(this.#aborting.signal)).catch(() => {})
      }
    }
  }
}
