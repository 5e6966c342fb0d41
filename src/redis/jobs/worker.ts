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

/** A line runs once more when its worker has died, and not a third time. */
const MOST_RUNS = 2
/** What could not be told to Redis is told again after so long. Milliseconds. */
const AGAIN_MS = 500
/** Batches take turns: so many lines of one, then of the others. */
const TURN = 20
/** The largest number that BullMQ takes for a job's place. */
const LAST_TURN = 2_097_152
/** How long the end of the connections may take. Milliseconds. */
const GRACE_MS = 5_000

/** What a job of ours says. */
interface JobData {
  readonly batch: string
  readonly key: string
}

/** By these BullMQ is told what becomes of a job that is not done. */
interface Signals {
  readonly Delayed: new () => Error
  readonly Waiting: new () => Error
}

type Reply = ['run', owner: string, about: string, text: string] | ['gone' | 'done' | UnrunReason]

/** Takes lines of all batches of its name, from whichever process they came, and runs them. */
export class RedisWorker implements JobWorker {
  readonly #jobs: JobStore
  readonly #concurrency: number
  readonly #aborting = new AbortController()
  readonly #sweeper: Sweeper
  /** By the jobs' ids: a job that comes again while it runs here is the same run. */
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
    // Only what is missing ends the tries.
    this.#opened.catch((error: Error) => warn(error.message))
  }

  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true
    this.#sweeper.stop()
    // It waits for Redis, and has begun nothing.
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

  /** A worker that could not be got ready never will be: then it is another one's turn. */
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
      // Our own scripts count how often a line has begun: a lock that was lost is no run.
      maxStalledCount: Number.MAX_SAFE_INTEGER,
      runRetryDelay: AGAIN_MS,
      autorun: false,
    })
    // It goes on by itself.
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

  /** Adds a job for each line that has no result. Those that are there already are left as they are. */
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
      // Faster, but it fails where Redis does not know the script by heart.
      await queue
        .addBulk(jobs)
        .catch(() => Promise.all(jobs.map(({ name, data, opts }) => queue.add(name, data, opts))))
    })
    await this.#jobs.connections.run(PREPARED, [this.#jobs.keys.batch(batch)])
  }

  /** Runs a line and writes its result down. */
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

  /** What was paid for is kept until it can be written down. */
  async #finish(batch: string, key: string, result: JobResult): Promise<void> {
    await this.#untilDone(() => this.#jobs.finish(batch, [{ key, ...result }]))
  }

  /** Gives the line's job back to BullMQ, which wants to be told by an error. */
  async #handBack(job: BullJob, token: string | undefined, laterMs: number): Promise<never> {
    const { Delayed, Waiting } = this.#signals as Signals
    try {
      if (laterMs > 0) await job.moveToDelayed(wallTime() + laterMs, token)
      else await job.moveToWait(token)
    } catch {
      // It is found when its lock has run out.
    }
    throw laterMs > 0 ? new Delayed() : new Waiting()
  }

  /** Asks until there is an answer: undefined only when the worker is closed before. */
  async #untilDone<T>(ask: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#aborting
    for (;;) {
      try {
        return await ask()
      } catch {
        // Once more, even when it is late: what was begun is to be given back.
        if (signal.aborted) return await ask().catch(() => undefined)
        await sleep(AGAIN_MS, cancelOf(signal)).catch(() => {})
      }
    }
  }
}

/** There is nothing more to do with a line. */
const NOTHING: JobResult = { kind: 'unrun', text: '', bytes: 0 }
