import {
  type JobLine,
  type JobRunner,
  type JobsState,
  type ListPart,
  type NewJobs,
  type SharedFiles,
  type SharedJobs,
  Timer,
  wallTime,
} from '../../core/index.js'
import { LocalBatch, type LocalLine, reasonNotToRun } from './batch.js'
import { FilesOnceOpen } from './files.js'
import { partOf, type ResultsOf, type Shelves } from './shelf.js'
import { LocalWorker } from './worker.js'

/** Interval at which expired batches and files are looked for. Milliseconds. */
const SWEEP_MS = 30_000
/** Number of results, or of closed lines, per part. */
const PART = 500

export interface LocalJobsOptions {
  readonly runner: JobRunner
  /**
   * A line is given up after this many runs that ended with the death of the process, because the
   * line may be the cause.
   */
  readonly mostRuns: number
}

/** Batches of a single process. */
export class LocalJobs implements SharedJobs {
  readonly files: SharedFiles
  readonly #shelves: Shelves
  readonly #runner: JobRunner
  readonly #mostRuns: number
  readonly #opened: Promise<void>
  readonly #batches = new Map<string, LocalBatch>()
  /** Batches with waiting lines, in the order of their turns. */
  #turns: LocalBatch[] = []
  /** Batches that are being accepted, by id. */
  readonly #adding = new Map<string, Promise<void>>()
  readonly #workers = new Set<LocalWorker>()
  /** Timers of postponed lines. */
  readonly #delays = new Set<Timer>()
  #sweeper: Timer | undefined
  #hasEnded = false

  constructor(shelves: Shelves, { runner, mostRuns }: LocalJobsOptions) {
    this.#shelves = shelves
    this.#runner = runner
    this.#mostRuns = mostRuns
    this.#opened = this.#open()
    this.files = new FilesOnceOpen(shelves.files, this.#opened)
    // Later operations report the error.
    this.#opened.catch(() => {})
  }

  async add(
    batch: NewJobs,
    pages: AsyncIterable<readonly JobLine[]>,
    digest: () => string,
  ): Promise<'added' | 'same' | 'other'> {
    await this.#opened
    // Batches with the same id are accepted one after the other.
    const before = this.#adding.get(batch.id) ?? Promise.resolve()
    const added = before.then(() => this.#add(batch, pages, digest))
    const done = added.then(
      () => {},
      () => {},
    )
    this.#adding.set(batch.id, done)
    try {
      return await added
    } finally {
      if (this.#adding.get(batch.id) === done) this.#adding.delete(batch.id)
    }
  }

  async get(id: string): Promise<JobsState | undefined> {
    await this.#opened
    await this.#settle(this.#batches.get(id))
    return this.#batches.get(id)?.state
  }

  async list(owner: string, part: ListPart): Promise<readonly JobsState[]> {
    await this.#sweep()
    const states = [...this.#batches.values()].map(({ state }) => state)
    return partOf(states, owner, part)
  }

  async close(id: string, as: 'cancelled' | 'expired'): Promise<void> {
    await this.#opened
    const batch = this.#batches.get(id)
    if (batch !== undefined)
      await this.#closeLines(batch, as === 'cancelled' ? 'cancelling' : 'expiring')
  }

  async results(id: string, of: ResultsOf, from: number): Promise<readonly string[]> {
    await this.#opened
    const batch = this.#batches.get(id)
    if (batch === undefined || batch.state.dropped[of]) return []
    return batch.shelf.results(of, from, PART)
  }

  async drop(id: string, of: ResultsOf): Promise<void> {
    await this.#opened
    const batch = this.#batches.get(id)
    if (batch?.hasEnded) await batch.drop(of)
  }

  work(concurrency: number): LocalWorker {
    const worker = new LocalWorker(this.#runner, concurrency, {
      next: () => this.#next(),
      closed: () => this.#workers.delete(worker),
      putBack: (batch, line, laterMs) => this.#putBack(batch, line, laterMs),
    })
    this.#workers.add(worker)
    this.#opened.then(
      () => worker.wake(),
      () => {},
    )
    return worker
  }

  async end(): Promise<void> {
    this.#hasEnded = true
    this.#sweeper?.stop()
    for (const timer of this.#delays) timer.stop()
    this.#delays.clear()
    await this.#opened.catch(() => {})
    await Promise.all([...this.#batches.values()].map(({ shelf }) => shelf.release()))
    await this.#shelves.release()
  }

  async #add(
    batch: NewJobs,
    pages: AsyncIterable<readonly JobLine[]>,
    digest: () => string,
  ): Promise<'added' | 'same' | 'other'> {
    const known = this.#batches.get(batch.id)
    if (known === undefined) {
      const kept = await this.#shelves.add(pages, (total) => headerOf(batch, total, digest()))
      this.#place(new LocalBatch(kept))
      return 'added'
    }
    for await (const _ of pages);
    return known.digest === digest() ? 'same' : 'other'
  }

  async #open(): Promise<void> {
    const kept = await this.#shelves.open()
    for (const one of kept) this.#place(new LocalBatch(one))
    // The process may have died after the last result, before the batch was ended.
    for (const batch of this.#batches.values()) {
      await batch.finish([])
      const { status } = batch.state
      if (status === 'cancelling' || status === 'expiring') await this.#closeLines(batch, status)
    }
    if (!this.#hasEnded) this.#sweepLater()
  }

  /** Prevents further lines of a batch from starting, with immediate effect. */
  async #closeLines(batch: LocalBatch, as: 'cancelling' | 'expiring'): Promise<void> {
    if (batch.hasEnded) return
    const closed = batch.close(as, wallTime())
    const lines = batch.takeAll()
    await closed
    const reason = batch.closedAs as 'cancelled' | 'expired'
    for (let i = 0; i < lines.length; i += PART) {
      const results = lines.slice(i, i + PART).map(({ key }) => ({
        key,
        result: this.#runner.unrun({ batch: batch.id, key }, reason),
      }))
      await batch.finish(results)
    }
  }

  #place(batch: LocalBatch): void {
    this.#batches.set(batch.id, batch)
    if (batch.hasEnded) return
    this.#turns.push(batch)
    this.#wake()
  }

  #wake(): void {
    for (const worker of this.#workers) worker.wake()
  }

  /** The next line, or the reason why it must not run. Batches take turns. */
  #next() {
    const at = wallTime()
    for (let left = this.#turns.length; left > 0; left--) {
      const batch = this.#turns.shift() as LocalBatch
      if (batch.isOverdue(at)) void this.#closeLines(batch, 'expiring').catch(() => {})
      const line = batch.take()
      if (line === undefined) continue
      this.#turns.push(batch)
      return { batch, line, reason: reasonNotToRun(batch, line, this.#mostRuns) }
    }
    return undefined
  }

  #putBack(batch: LocalBatch, line: LocalLine, laterMs: number): void {
    if (this.#hasEnded) return
    if (laterMs <= 0) return this.#waitAgain(batch, line)
    batch.delay(line)
    const timer = new Timer(laterMs, () => {
      this.#delays.delete(timer)
      // The batch may have been closed in the meantime.
      if (batch.isDelayed(line)) this.#waitAgain(batch, line)
    })
    this.#delays.add(timer)
  }

  #waitAgain(batch: LocalBatch, line: LocalLine): void {
    batch.putBack(line)
    if (!this.#turns.includes(batch)) this.#turns.push(batch)
    this.#wake()
  }

  /** Closes an expired batch, and deletes one whose results have expired. */
  async #settle(batch: LocalBatch | undefined): Promise<void> {
    if (batch === undefined) return
    if (batch.isOverdue(wallTime())) await this.#closeLines(batch, 'expiring')
    if (!batch.isForgotten(wallTime())) return
    this.#batches.delete(batch.id)
    await batch.shelf.remove()
  }

  async #sweep(): Promise<void> {
    await this.#opened
    for (const batch of this.#batches.values()) await this.#settle(batch)
    await this.#shelves.sweep()
  }

  #sweepLater(): void {
    this.#sweeper = new Timer(SWEEP_MS, () => {
      // Errors are ignored; the next sweep tries again.
      void this.#sweep()
        .catch(() => {})
        .then(() => !this.#hasEnded && this.#sweepLater())
    }).unref()
  }
}

function headerOf(batch: NewJobs, total: number, digest: string) {
  const { id, owner, about, expireMs, keepMs, ended } = batch
  const createdAt = wallTime()
  const expiresAt = createdAt + expireMs
  const header = { id, owner, about, digest, total, createdAt, expiresAt, keepMs }
  if (ended === undefined) return header
  const counts = { completed: 0, failed: 0, unrun: 0, completedBytes: 0, failedBytes: 0 }
  const state: JobsState = {
    ...{ id, owner, about, total, createdAt, expiresAt, status: ended, endedAt: createdAt },
    ...counts,
    dropped: { completed: false, failed: false },
  }
  return { ...header, ended: state }
}
