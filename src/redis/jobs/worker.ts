import type { Job as BullJob, Worker } from 'bullmq'
import {
  ClosedError,
  cancelOf,
  inTime,
  type JobResult,
  type JobWorker,
  jobIdOf,
  sleep,
  type UnrunReason,
  wallTime,
  warn,
} from '../../core/index.js'
import type { RedisClient } from '../client.js'
import { type BullMQ, connectionOf, JOB_OPTIONS, loadBullMQ, PREPARE } from './bullmq.js'
import { BEGIN, PREPARED, PUT_BACK } from './scripts.js'
import type { JobStore } from './store.js'
import { Sweeper } from './sweeper.js'

/** Maximum number of runs of a line: one more if its worker has died. */
const MOST_RUNS = 2
/** Delay before a failed write to Redis is repeated. Milliseconds. */
const AGAIN_MS = 500
/** Batches take turns: this many lines of one, then as many of the others. */
const TURN = 20
/** The largest priority value that BullMQ accepts. */
const LAST_TURN = 2_097_152
/** Time limit for closing the connections. Milliseconds. */
const GRACE_MS = 5_000

/** The data of a job. */
interface JobData {
  readonly batch: string
  readonly key: string
}

/** Errors that tell BullMQ to delay a job or to return it to the queue. */
interface Signals {
  readonly Delayed: new () => Error
  readonly Waiting: new () => Error
}

type Reply = ['run', owner: string, about: string, text: string] | ['gone' | 'done' | UnrunReason]

/** Runs lines of all batches with the same name, whichever process accepted them. */
export class RedisWorker implements JobWorker {
  readonly #jobs: JobStore
  readonly #concurrency: number
  readonly #aborting = new AbortController()
  readonly #sweeper: Sweeper
  /** Running jobs by id. A job that BullMQ delivers again while it runs here joins that run. */
  readonly #running = new Map<string, Promise<JobResult | { laterMs: number }>>()
  readonly #opened: Promise<void>
  #client: RedisClient | undefined
  #worker: Worker | undefined
  #signals: Signals | undefined
  #isClosed = false

  constructor(jobs: JobStore, concurrency: number) {
    this.#jobs = jobs
    this.#concurrency = concurrency
    this.#sweeper = new Sweeper(jobs)
    this.#opened = this.#open()
    // It retries until Redis is back; only a missing package is an error.
    this.#opened.catch((error: Error) => warn(error.message))
  }

  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true
    this.#sweeper.stop()
    // Still waiting for Redis: nothing has been started.
    if (this.#worker === undefined) return this.#end()
    const closed = this.#opened.then(
      () => this.#worker?.close(),
      () => {},
    )
    await inTime(
      () => closed,
      timeoutMs,
      () => this.#aborting.abort(new ClosedError()),
    )
    await inTime(
      () => closed,
      GRACE_MS,
      () => {},
    )
    this.#end()
  }

  #end(): void {
    if (this.#client !== undefined) this.#jobs.connections.end(this.#client)
  }

  async #open(): Promise<void> {
    const { Worker, DelayedError, WaitingError } = await loadBullMQ()
    this.#signals = { Delayed: DelayedError, Waiting: WaitingError }
    while (!this.#isClosed) {
      try {
        return await this.#begin(Worker)
      } catch {
        await sleep(AGAIN_MS)
      }
    }
  }

  /** Starts a worker. One that fails to get ready never will, so the caller creates another. */
  async #begin(Worker: BullMQ['Worker']): Promise<void> {
    const client = await this.#jobs.connections.open({ waits: true })
    this.#client = client
    if (this.#isClosed) return this.#end()
    const { stalledMs } = this.#jobs
    const worker = new Worker(this.#jobs.name, (job, token) => this.#process(job, token), {
      connection: connectionOf(client),
      prefix: this.#jobs.keys.prefix,
      concurrency: this.#concurrency,
      lockDuration: stalledMs,
      stalledInterval: stalledMs,
      // The scripts count the runs of a line themselves. A lost lock is not a run.
      maxStalledCount: Number.MAX_SAFE_INTEGER,
      runRetryDelay: AGAIN_MS,
      autorun: false,
    })
    // The worker recovers by itself.
    worker.on('error', () => {})
    try {
      await worker.waitUntilReady()
    } catch (error) {
      await worker.close(true).catch(() => {})
      this.#end()
      throw error
    }
    this.#worker = worker
    if (this.#isClosed) return void worker.close(true).catch(() => {})
    worker.run().catch(() => {})
    this.#sweeper.start()
  }

  async #process(job: BullJob, token: string | undefined): Promise<void> {
    const { batch, key } = job.data as JobData
    if (job.name === PREPARE) return this.#prepare(batch)
    const id = jobIdOf(batch, key)
    const known = this.#running.get(id)
    const running = known ?? this.#line(batch, key)
    this.#running.set(id, running)
    const outcome = await running.finally(() => this.#running.delete(id))
    if ('laterMs' in outcome) await this.#handBack(job, token, outcome.laterMs)
  }

  /** Adds a job for each line without a result. Existing jobs are not changed. */
  async #prepare(batch: string): Promise<void> {
    await this.#untilDone(() => this.#lineUp(batch))
  }

  async #lineUp(batch: string): Promise<void> {
    const queue = await this.#jobs.queue()
    await this.#jobs.eachUndone(batch, async (keys, from) => {
      const jobs = keys.map((key, i) => ({
        name: 'line',
        data: { batch, key } satisfies JobData,
        opts: {
          ...JOB_OPTIONS,
          jobId: jobIdOf(batch, key),
          priority: Math.min(1 + Math.floor((from + i) / TURN), LAST_TURN),
        },
      }))
      // `addBulk` is faster, but fails if Redis has not cached its script.
      await queue
        .addBulk(jobs)
        .catch(() => Promise.all(jobs.map(({ name, data, opts }) => queue.add(name, data, opts))))
    })
    await this.#jobs.connections.run(PREPARED, [this.#jobs.keys.batch(batch)])
  }

  /** Runs a line and stores its result. */
  async #line(batch: string, key: string): Promise<JobResult | { laterMs: number }> {
    const { keys, connections, runner } = this.#jobs
    const part = (name: string) => keys.part('batch', batch, name)
    const names = [keys.batch(batch), part('texts'), part('begun'), part('done')]
    const reply = await this.#untilDone(() =>
      connections.run<Reply>(BEGIN, names, [key, MOST_RUNS]),
    )
    if (reply === undefined) return { laterMs: 0 }
    if (reply[0] === 'gone' || reply[0] === 'done') return NOTHING
    if (reply[0] !== 'run') {
      await this.#finish(batch, key, runner.unrun({ batch, key }, reply[0]))
      return NOTHING
    }
    const [, owner, about, text] = reply
    const outcome = await runner.run({ batch, key, owner, about, text }, this.#aborting.signal)
    if ('laterMs' in outcome)
      await this.#untilDone(() => connections.run(PUT_BACK, [part('begun')], [key]))
    else await this.#finish(batch, key, outcome)
    return outcome
  }

  /** Stores a result. Retries until it succeeds, because the result has been paid for. */
  async #finish(batch: string, key: string, result: JobResult): Promise<void> {
    await this.#untilDone(() => this.#jobs.finish(batch, [{ key, ...result }]))
  }

  /** Returns a job to BullMQ, by throwing the error that BullMQ expects. */
  async #handBack(job: BullJob, token: string | undefined, laterMs: number): Promise<never> {
    const { Delayed, Waiting } = this.#signals as Signals
    try {
      if (laterMs > 0) await job.moveToDelayed(wallTime() + laterMs, token)
      else await job.moveToWait(token)
    } catch {
      // BullMQ returns the job to the queue when its lock expires.
    }
    throw laterMs > 0 ? new Delayed() : new Waiting()
  }

  /** Retries until it succeeds. Returns `undefined` only if the worker is closed first. */
  async #untilDone<T>(ask: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#aborting
    for (;;) {
      try {
        return await ask()
      } catch {
        // Try once more during the close, so that started work is not lost.
        if (signal.aborted) return await ask().catch(() => undefined)
        await sleep(AGAIN_MS, cancelOf(signal)).catch(() => {})
      }
    }
  }
}

/** The result of a line that need not run. */
const NOTHING: JobResult = { kind: 'unrun', text: '', bytes: 0 }
