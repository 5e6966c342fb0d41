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

/** How often it is looked for what has expired. Milliseconds. */
const SWEEP_MS = 30_000
/** Results, and lines that are closed, go in parts of so many. */
const PART = 500

export interface LocalJobsOptions {
  readonly runner: JobRunner
  /**
   * A line that began so often, and was ended by the process's death each time, is lost: it may be
   * what kills the process.
   */
  readonly mostRuns: number
}

/** Batches of this process alone. */
export class LocalJobs implements SharedJobs {
  readonly files: SharedFiles
  readonly #shelves: Shelves
  readonly #runner: JobRunner
  readonly #mostRuns: number
  readonly #opened: Promise<void>
  readonly #batches = new Map<string, LocalBatch>()
  /** Batches with lines that wait, in the order of their turns. */
  #turns: LocalBatch[] = []
  /** Those that are being accepted, by their ids. */
  readonly #adding = new Map<string, Promise<void>>()
  readonly #workers = new Set<LocalWorker>()
  /** Those whose lines wait for a moment to come. */
  readonly #delays = new Set<Timer>()
  #sweeper: Timer | undefined
  #hasEnded = false

  constructor(shelves: Shelves, { runner, mostRuns }: LocalJobsOptions) {
    this.#shelves = shelves
    this.#runner = runner
    this.#mostRuns = mostRuns
    this.#opened = this.#open()
    this.files = new FilesOnceOpen(shelves.files, this.#opened)
    // Whoever asks for something hears of it.
    this.#opened.catch(() => {})
  }

  async add(
    batch: NewJobs,
    pages: AsyncIterable<readonly JobLine[]>,
    digest: () => string,
  ): Promise<'added' | 'same' | 'other'> {
    await this.#opened
    // Two of one id go one after the other.
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
    // Lines may have been done while their batch was not ended.
    for (const batch of this.#batches.values()) {
      await batch.finish([])
      const { status } = batch.state
      if (status === 'cancelling' || status === 'expiring') await this.#closeLines(batch, status)
    }
    if (!this.#hasEnded) this.#sweepLater()
  }

  /** Nothing more of a batch begins: not from this very moment on. */
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

  /** The next line, and why it is not run if so: batches take turns. */
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
      // It may have been closed in the meantime.
      if (batch.isDelayed(line)) this.#waitAgain(batch, line)
    })
    this.#delays.add(timer)
  }

  #waitAgain(batch: LocalBatch, line: LocalLine): void {
    batch.putBack(line)
    if (!this.#turns.includes(batch)) this.#turns.push(batch)
    this.#wake()
  }

  /** Closes a batch that is overdue, and forgets one whose time has come. */
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
      // What could not be swept is swept the next time.
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
