import { randomUUID } from 'node:crypto'
import type { Queue } from 'bullmq'
import {
  inTime,
  type JobLine,
  type JobRunner,
  type JobsState,
  type ListPart,
  type NewJobs,
  type SharedJobs,
  type SharedJobsOptions,
  sleep,
} from '../../core/index.js'
import { connectionOf, JOB_OPTIONS, loadBullMQ, PREPARE } from './bullmq.js'
import { Connections, type ConnectionsOptions } from './connections.js'
import { fieldsOf, partArgs, RedisFiles } from './files.js'
import { JobKeys, prepareIdOf } from './keys.js'
import { ACCEPT, ADD_LINES, CLOSE, DROP, FINISH, GET, LIST, RESULTS, UNDONE } from './scripts.js'

/** Number of results or keys per read. */
const PART = 500
/** Time limit for BullMQ to get ready. Milliseconds. */
const READY_MS = 10_000
/** Number of attempts to accept an upload, and the delay between them. Milliseconds. */
const ACCEPT_TIMES = 5
const ACCEPT_AGAIN_MS = 400

/** Stores batches in Redis. */
export class JobStore implements Omit<SharedJobs, 'work'> {
  readonly files: RedisFiles
  readonly keys: JobKeys
  readonly connections: Connections
  readonly runner: JobRunner
  readonly stalledMs: number
  readonly #name: string
  readonly #queue: { opened: Promise<Queue> | undefined } = { opened: undefined }

  constructor(
    connection: ConnectionsOptions,
    prefix: string,
    name: string,
    { runner, stalledMs }: SharedJobsOptions,
  ) {
    this.runner = runner
    this.stalledMs = stalledMs
    this.keys = new JobKeys(prefix, name)
    this.connections = new Connections(connection)
    this.files = new RedisFiles(this.connections, this.keys)
    this.#name = name
  }

  async add(
    batch: NewJobs,
    pages: AsyncIterable<readonly JobLine[]>,
    digest: () => string,
  ): Promise<'added' | 'same' | 'other'> {
    const queue = await this.queue()
    const upload = randomUUID()
    const uploaded = ['keys', 'texts'].map((part) => this.keys.part('upload', upload, part))
    let total = 0
    for await (const page of pages) {
      const lines = page.flatMap(({ key, text }) => [key, text])
      await this.connections.run(ADD_LINES, uploaded, lines)
      total += page.length
    }
    const { id, owner, about, expireMs, keepMs, ended } = batch
    const names = [
      this.keys.batch(id),
      ...this.#parts(id, 'keys', 'texts'),
      ...uploaded,
      this.keys.list('batches', owner),
      this.keys.open,
    ]
    const of = [id, owner, about, digest(), total, expireMs, keepMs, ended ?? 'preparing']
    const accepted = await this.#accept(names, of)
    // If this fails, the sweeper of a worker does it later.
    if (accepted !== 'other' && ended === undefined)
      await this.prepareLater(queue, id).catch(() => {})
    return accepted
  }

  async get(id: string): Promise<JobsState | undefined> {
    const [at, fields] = await this.#read(id)
    const state = stateOf(fields)
    if (state === undefined || state.endedAt !== undefined) return state
    if (state.expiresAt > at || state.closingAt !== undefined) return state
    await this.close(id, 'expired')
    return stateOf((await this.#read(id))[1])
  }

  async list(owner: string, part: ListPart): Promise<readonly JobsState[]> {
    const { batches } = this.keys
    const list = [this.keys.list('batches', owner)]
    const found = await this.connections.run<string[][]>(LIST, list, partArgs(batches, part))
    return found.map((fields) => stateOf(fields) as JobsState)
  }

  async close(id: string, as: 'cancelled' | 'expired'): Promise<void> {
    const wanted = as === 'cancelled' ? 'cancelling' : 'expiring'
    const status = await this.connections.run<string | null>(CLOSE, [this.keys.batch(id)], [wanted])
    if (status !== 'cancelling' && status !== 'expiring') return
    const reason = status === 'cancelling' ? 'cancelled' : 'expired'
    await this.eachUndone(id, async (keys) => {
      const results = keys.map((key) => ({ key, ...this.runner.unrun({ batch: id, key }, reason) }))
      await this.finish(id, results, 'waiting')
    })
  }

  results(id: string, of: 'completed' | 'failed', from: number): Promise<readonly string[]> {
    return this.connections.run(RESULTS, this.#parts(id, of), [from, from + PART - 1])
  }

  async drop(id: string, of: 'completed' | 'failed'): Promise<void> {
    await this.connections.run(DROP, [this.keys.batch(id), ...this.#parts(id, of)], [of])
  }

  async end(): Promise<void> {
    const queue = await this.#queue.opened?.catch(() => undefined)
    await queue?.close().catch(() => {})
    this.connections.close()
  }

  /** BullMQ's queue, opened on first use. */
  queue(): Promise<Queue> {
    this.#queue.opened ??= this.#open().catch((error: unknown) => {
      this.#queue.opened = undefined
      throw error
    })
    return this.#queue.opened
  }

  get name(): string {
    return this.#name
  }

  /** Adds the job that enqueues the lines of a batch. Adding it twice is harmless. */
  async prepareLater(queue: Queue, id: string): Promise<void> {
    await queue.add(PREPARE, { batch: id }, { ...JOB_OPTIONS, jobId: prepareIdOf(id) })
  }

  /** Stores results. Lines that already have a result keep it. */
  async finish(
    id: string,
    results: readonly { key: string; kind: string; text: string; bytes: number }[],
    which: 'all' | 'waiting' = 'all',
  ): Promise<void> {
    const parts = this.#parts(id, 'keys', 'texts', 'begun', 'done', 'completed', 'failed')
    const names = [this.keys.batch(id), ...parts, this.keys.open]
    const of = results.flatMap(({ key, kind, text, bytes }) => [key, kind, text, bytes])
    await this.connections.run(FINISH, names, [which === 'waiting' ? which : '', ...of])
  }

  /** Visits the lines without a result, in parts, with the index of each part's first line. */
  async eachUndone(
    id: string,
    visit: (keys: readonly string[], from: number) => Promise<void>,
  ): Promise<void> {
    for (let from = 0; ; from += PART) {
      const names = this.#parts(id, 'keys', 'done')
      const part = await this.connections.run<string[]>(UNDONE, names, [from, from + PART - 1])
      const keys = part.filter((key) => key !== '')
      if (keys.length > 0) await visit(keys, from)
      if (part.length < PART) return
    }
  }

  #parts(id: string, ...parts: string[]): string[] {
    return parts.map((part) => this.keys.part('batch', id, part))
  }

  async #open(): Promise<Queue> {
    const { Queue } = await loadBullMQ()
    const client = await this.connections.commands()
    const queue = new Queue(this.#name, {
      connection: connectionOf(client),
      prefix: this.keys.prefix,
    })
    // Errors reject the commands; the event needs no further handling.
    queue.on('error', () => {})
    try {
      await inTime(
        () => queue.waitUntilReady(),
        READY_MS,
        (): never => {
          throw new Error('Redis did not answer in time.')
        },
      )
    } catch (error) {
      // After a failure the queue never gets ready.
      await queue.close().catch(() => {})
      throw error
    }
    return queue
  }

  /**
   * Accepts an upload. If the connection breaks, it is unknown whether it was accepted, so retries.
   */
  async #accept(names: string[], of: readonly (string | number)[]) {
    for (let times = 1; ; times++) {
      try {
        const accepted = await this.connections.run<'added' | 'same' | 'other'>(ACCEPT, names, of)
        // `same` on a retry means that an earlier attempt was accepted.
        return accepted === 'same' && times > 1 ? 'added' : accepted
      } catch (error) {
        if (times === ACCEPT_TIMES) throw error
        await sleep(ACCEPT_AGAIN_MS)
      }
    }
  }

  async #read(id: string): Promise<[at: number, fields: readonly string[]]> {
    const key = [this.keys.batch(id)]
    const [at, fields] = await this.connections.run<[string, string[]]>(GET, key)
    return [Number(at), fields]
  }
}

function stateOf(fields: readonly string[]): JobsState | undefined {
  if (fields.length === 0) return undefined
  const of = fieldsOf(fields)
  const number = (name: string) => (of[name] === undefined ? undefined : Number(of[name]))
  return {
    id: of.id as string,
    owner: of.owner as string,
    about: of.about as string,
    status: of.status as JobsState['status'],
    total: Number(of.total),
    completed: Number(of.completed),
    failed: Number(of.failed),
    unrun: Number(of.unrun),
    completedBytes: Number(of.completedBytes),
    failedBytes: Number(of.failedBytes),
    createdAt: Number(of.createdAt),
    startedAt: number('startedAt'),
    closingAt: number('closingAt'),
    endedAt: number('endedAt'),
    expiresAt: Number(of.expiresAt),
    dropped: {
      completed: of['dropped:completed'] !== undefined,
      failed: of['dropped:failed'] !== undefined,
    },
  }
}
