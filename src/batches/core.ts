import { randomUUID } from 'node:crypto'
import {
  ClosedError,
  type CloseOptions,
  cancelOf,
  check,
  isStackError,
  type JobsState,
  type JobWorker,
  type NewJobs,
  rules,
  type SharedJobs,
  StackError,
  sleep,
  ValidationError,
} from '../core/index.js'
import { type BatchesInternals, type BatchOrder, ENDPOINTS } from './internals.js'
import { type KeptResult, toOutputLine } from './line.js'
import { isId, type NewLine, NewLines } from './lines.js'
import type { RunCounts } from './runner.js'
import type {
  BatchEndpoint,
  BatchesStats,
  BatchItem,
  BatchResult,
  BatchStatus,
  BatchWorker,
  CreateBatchOptions,
  ResultsOptions,
} from './types.js'

/** Interval at which `results()` polls a running batch. Milliseconds. */
const POLL_MS = 200
const CLOSE_MS = 30_000

export interface BatchesSettings {
  readonly concurrency: number
  readonly expireMs: number
  readonly keepMs: number
}

const refuse = (sentence: string) => new ValidationError(sentence)

const STATUSES: Readonly<Record<JobsState['status'], BatchStatus['status']>> = {
  preparing: 'validating',
  running: 'in_progress',
  cancelling: 'cancelling',
  expiring: 'finalizing',
  completed: 'completed',
  cancelled: 'cancelled',
  expired: 'expired',
  rejected: 'failed',
}

/** Batches with any storage. */
export class BatchesCore implements BatchesInternals {
  readonly jobs: SharedJobs
  readonly toOutputLine = toOutputLine
  readonly #settings: BatchesSettings
  readonly #counts: RunCounts
  readonly #workers = new Set<JobWorker>()
  #created = 0
  #closing: Promise<void> | undefined

  constructor(jobs: SharedJobs, settings: BatchesSettings, counts: RunCounts) {
    this.jobs = jobs
    this.#settings = settings
    this.#counts = counts
  }

  get keepMs(): number {
    return this.#settings.keepMs
  }

  async create(
    items: Iterable<BatchItem> | AsyncIterable<BatchItem>,
    options?: CreateBatchOptions,
  ): Promise<{ readonly id: string }> {
    const { id, customIds, endpoint, tenant } = readCreateOptions(items, options)
    const order = {
      id: id ?? `batch_${randomUUID().replaceAll('-', '')}`,
      owner: tenant ?? '',
      endpoint,
    }
    const added = await this.accept(order, named(items, customIds))
    if (added === 'other')
      throw refuse('create: the id is in use by a batch with other items. Choose another id.')
    return { id: order.id }
  }

  async accept(order: BatchOrder, source: Iterable<NewLine> | AsyncIterable<NewLine>) {
    const { endpoint, owner } = order
    const lines = new NewLines(source, [endpoint, owner])
    try {
      const added = await this.ask(() =>
        this.jobs.add(this.#orderOf(order), lines.parts(), () => {
          if (lines.count === 0) throw refuse('create: a batch must have at least one item.')
          return lines.digest()
        }),
      )
      if (added === 'added') this.#created++
      return added
    } catch (error) {
      // An error of the items is more helpful than the storage error that it caused.
      if (lines.failure !== undefined) throw lines.failure.error
      throw error
    }
  }

  async reject(order: BatchOrder): Promise<void> {
    const none = new NewLines([], [])
    const rejected = { ...this.#orderOf(order), ended: 'rejected' as const }
    await this.ask(() => this.jobs.add(rejected, none.parts(), () => none.digest()))
  }

  async status(id: string): Promise<BatchStatus> {
    const state = await this.#find(id)
    const { total, completed, failed } = state
    return { id, status: this.statusOf(state), requestCounts: { total, completed, failed } }
  }

  statusOf({ status }: Pick<JobsState, 'status'>): BatchStatus['status'] {
    return STATUSES[status]
  }

  async *results(
    id: string,
    options?: ResultsOptions,
  ): AsyncGenerator<BatchResult, undefined, undefined> {
    const { wait, signal } = check<{ wait: boolean; signal: AbortSignal | undefined }>(
      'results',
      options,
      { wait: rules.flag(true) as rules.Rule<boolean>, signal: rules.anything<AbortSignal>() },
      refuse,
    )
    const read = { completed: 0, failed: 0 }
    for (;;) {
      signal?.throwIfAborted()
      // Read the state before the results: if the batch has ended, the results are complete.
      const { endedAt } = await this.#find(id)
      let found = 0
      for (const of of ['completed', 'failed'] as const) {
        const texts = await this.ask(() => this.jobs.results(id, of, read[of]))
        for (const text of texts) yield publicResult(JSON.parse(text) as KeptResult)
        read[of] += texts.length
        found += texts.length
      }
      if (found > 0) continue
      if (endedAt !== undefined || !wait) return undefined
      await sleep(POLL_MS, ...(signal === undefined ? [] : [cancelOf(signal)]))
    }
  }

  async cancel(id: string): Promise<void> {
    await this.#find(id)
    await this.ask(() => this.jobs.close(id, 'cancelled'))
  }

  worker(): BatchWorker {
    if (this.#closing !== undefined)
      throw new ClosedError('The batches are closed. Create new ones with createBatches().')
    const worker = this.jobs.work(this.#settings.concurrency)
    this.#workers.add(worker)
    let closing: Promise<void> | undefined
    return {
      close: async (options?: CloseOptions) => {
        const timeoutMs = readTimeout(options)
        closing ??= worker.close(timeoutMs).finally(() => this.#workers.delete(worker))
        return closing
      },
    }
  }

  async close(options?: CloseOptions): Promise<void> {
    const timeoutMs = readTimeout(options)
    this.#closing ??= this.#end(timeoutMs)
    return this.#closing
  }

  stats(): BatchesStats {
    const { running, completed, failed, postponed, lost } = this.#counts
    const workers = this.#workers.size
    return { created: this.#created, workers, running, completed, failed, postponed, lost }
  }

  async ask<T>(question: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined)
      throw new ClosedError('The batches are closed. Create new ones with createBatches().')
    try {
      return await question()
    } catch (error) {
      if (isStackError(error)) throw error
      throw new StackError('The storage of batches is unavailable. Try again later.', {
        ...{ code: 'SERVER', status: 503, retryable: true, refused: true },
        cause: error,
      })
    }
  }

  async #find(id: string): Promise<JobsState> {
    const state = isId(id) ? await this.ask(() => this.jobs.get(id)) : undefined
    if (state !== undefined) return state
    throw new StackError('There is no batch with this id.', {
      ...{ code: 'NOT_FOUND', status: 404, refused: true },
    })
  }

  #orderOf({ id, owner, endpoint, more }: BatchOrder): NewJobs {
    const { expireMs, keepMs } = this.#settings
    return { id, owner, about: JSON.stringify({ endpoint, more }), expireMs, keepMs }
  }

  async #end(timeoutMs: number): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.close(timeoutMs)))
    this.#workers.clear()
    await this.jobs.end()
  }
}

/** The public fields of a result. */
const publicResult = ({ requestId: _, ...result }: KeptResult): BatchResult => result

function readTimeout(options: CloseOptions | undefined): number {
  const { timeoutMs } = check<{ timeoutMs: number }>('close', options, {
    timeoutMs: rules.duration(CLOSE_MS, { min: 0 }) as rules.Rule<number>,
  })
  return timeoutMs
}

interface CheckedCreateOptions extends CreateBatchOptions {
  readonly endpoint: BatchEndpoint
}

function readCreateOptions(items: unknown, options: CreateBatchOptions | undefined) {
  const checked = check<CreateBatchOptions>(
    'create',
    options,
    {
      id: rules.custom<string, undefined>('a string of 1 to 512 characters', undefined, isId),
      customIds: rules.custom<readonly string[], undefined>(
        'a list of strings',
        undefined,
        (value) => Array.isArray(value),
      ),
      endpoint: rules.oneOf(ENDPOINTS, '/v1/chat/completions'),
      tenant: rules.text(undefined),
    },
    refuse,
  )
  const { [Symbol.iterator]: sync, [Symbol.asyncIterator]: async } = (items ?? {}) as Partial<
    Iterable<unknown> & AsyncIterable<unknown>
  >
  if (typeof items === 'string' || (typeof sync !== 'function' && typeof async !== 'function'))
    throw refuse('create: the items must be an array or another iterable of request bodies.')
  return checked as CheckedCreateOptions
}

/** The items with their custom ids. */
async function* named(
  items: Iterable<BatchItem> | AsyncIterable<BatchItem>,
  customIds: readonly string[] | undefined,
): AsyncGenerator<NewLine, undefined, undefined> {
  let at = 0
  for await (const body of items) {
    yield { customId: customIds === undefined ? String(at) : (customIds[at] as string), body }
    at++
  }
  if (customIds !== undefined && customIds.length !== at)
    throw refuse(
      `create: there are ${at} items and ${customIds.length} custom ids. Pass one custom id for each item.`,
    )
  return undefined
}
