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

/** Where a worker gets lines from. */
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

/** What was paid for is tried to be written down so often. Milliseconds. */
const AGAIN_MS = 1_000
/** How long a call that was aborted may take to end. Milliseconds. */
const GRACE_MS = 5_000

/** Takes lines of the batches of this process, and runs them. */
export class LocalWorker implements JobWorker {
  readonly #runner: JobRunner
  readonly #concurrency: number
  readonly #source: Source
  readonly #aborting = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #isClosed = false
  /** What still runs although it was aborted is nobody's any more. */
  #isAbandoned = false

  constructor(runner: JobRunner, concurrency: number, source: Source) {
    this.#runner = runner
    this.#concurrency = concurrency
    this.#source = source
  }

  /** There may be lines that wait. */
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
      // The text could not be read. It may be there the next time.
      return { laterMs: AGAIN_MS }
    }
  }

  /** A result that cannot be written down now is kept until it can. */
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
