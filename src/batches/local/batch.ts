import {
  type Job,
  type JobResult,
  type JobsState,
  type UnrunReason,
  wallTime,
} from '../../core/index.js'
import { type KeptBatch, type ResultsOf, resultsOf, type Shelf } from './shelf.js'

/** A line without a result. */
export interface LocalLine {
  readonly key: string
  /** How often it was started. */
  runs: number
}

/** The counts of a batch so far. */
type Tally = Pick<KeptBatch, 'completed' | 'failed' | 'unrun' | 'completedBytes' | 'failedBytes'>

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The state of one batch of this process: its waiting lines and its counts. */
export class LocalBatch {
  readonly #kept: KeptBatch
  readonly #tally: Mutable<Tally>
  /** Waiting lines in the order in which they start. */
  #waiting: LocalLine[]
  #next = 0
  /** Lines that were postponed. */
  readonly #delayed = new Set<LocalLine>()
  #closing: KeptBatch['closing']
  #end: JobsState | undefined

  constructor(kept: KeptBatch) {
    const { completed, failed, unrun, completedBytes, failedBytes } = kept
    this.#kept = kept
    this.#tally = { completed, failed, unrun, completedBytes, failedBytes }
    this.#waiting = [...kept.runs].map(([key, runs]) => ({ key, runs }))
    this.#closing = kept.closing
    this.#end = kept.header.ended
  }

  get id(): string {
    return this.#kept.header.id
  }

  get digest(): string {
    return this.#kept.header.digest
  }

  get shelf(): Shelf {
    return this.#kept.shelf
  }

  get state(): JobsState {
    return this.#end ?? this.#stateAs(this.#closing?.as ?? 'running')
  }

  get hasEnded(): boolean {
    return this.#end !== undefined
  }

  /** Why waiting lines are not run; `undefined` if they are. */
  get closedAs(): 'cancelled' | 'expired' | undefined {
    if (this.#closing === undefined) return undefined
    return this.#closing.as === 'cancelling' ? 'cancelled' : 'expired'
  }

  isOverdue(at: number): boolean {
    return !this.hasEnded && this.#closing === undefined && this.#kept.header.expiresAt <= at
  }

  /** Whether its results may be deleted. */
  isForgotten(at: number): boolean {
    const endedAt = this.#end?.endedAt
    return endedAt !== undefined && endedAt + this.#kept.header.keepMs <= at
  }

  /** Takes the next waiting line; `undefined` if there is none. */
  take(): LocalLine | undefined {
    const line = this.#waiting[this.#next]
    if (line === undefined) return undefined
    this.#next++
    if (this.#next === this.#waiting.length) {
      this.#waiting = []
      this.#next = 0
    }
    return line
  }

  /** Puts a line back among the waiting ones. */
  putBack(line: LocalLine): void {
    this.#delayed.delete(line)
    this.#waiting.push(line)
  }

  /** Postpones a line until it is put back. */
  delay(line: LocalLine): void {
    this.#delayed.add(line)
  }

  /** Whether a line is still postponed. */
  isDelayed(line: LocalLine): boolean {
    return this.#delayed.has(line)
  }

  /** Takes all waiting and postponed lines. */
  takeAll(): LocalLine[] {
    const all = [...this.#waiting.slice(this.#next), ...this.#delayed]
    this.#waiting = []
    this.#next = 0
    this.#delayed.clear()
    return all
  }

  /** Prevents further lines from starting. */
  async close(as: 'cancelling' | 'expiring', at: number): Promise<void> {
    if (this.hasEnded || this.#closing !== undefined) return
    this.#closing = { as, at }
    await this.shelf.close(as, at)
  }

  /** Stores results, and ends the batch after the last one. */
  async finish(
    results: readonly { readonly key: string; readonly result: JobResult }[],
  ): Promise<void> {
    if (results.length > 0) await this.shelf.add(results)
    for (const { result } of results) this.#count(result)
    const { completed, failed, unrun } = this.#tally
    if (completed + failed + unrun < this.#kept.header.total || this.hasEnded) return
    this.#end = { ...this.#stateAs(this.closedAs ?? 'completed'), endedAt: wallTime() }
    // If storing this fails, the end is derived from the results at the next start.
    await this.shelf.end(this.#end).catch(() => {})
  }

  async drop(of: ResultsOf): Promise<void> {
    const { state } = this
    const dropped = { ...state, dropped: { ...state.dropped, [of]: true } }
    await this.shelf.drop(of, dropped)
    this.#end = dropped
  }

  /** The job of a line, for its runner. */
  async job({ key }: LocalLine): Promise<Job> {
    const { id, owner, about } = this.#kept.header
    return { batch: id, owner, about, key, text: await this.shelf.text(key) }
  }

  #count({ kind, bytes }: JobResult): void {
    this.#tally[kind]++
    this.#tally[`${resultsOf(kind)}Bytes`] += bytes
  }

  #stateAs(status: JobsState['status']): JobsState {
    const { id, owner, about, total, createdAt, expiresAt } = this.#kept.header
    return {
      id,
      owner,
      about,
      status,
      total,
      ...this.#tally,
      createdAt,
      startedAt: createdAt,
      closingAt: this.#closing?.at,
      expiresAt,
      dropped: { completed: false, failed: false },
    }
  }
}

/** Why a line must not run; `undefined` if it may. */
export const reasonNotToRun = (
  batch: LocalBatch,
  line: LocalLine,
  mostRuns: number,
): UnrunReason | undefined => batch.closedAs ?? (line.runs >= mostRuns ? 'lost' : undefined)
