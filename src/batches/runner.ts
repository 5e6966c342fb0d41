import type { Blossom } from '../client/index.js'
import {
  cancelOf,
  type ErrorCode,
  isError,
  isRecord,
  isStackError,
  type Job,
  type JobResult,
  type JobRunner,
  safeMessageOf,
  sleep,
  type UnrunReason,
} from '../core/index.js'
import { type KeptResult, toOutputLine, unrunError } from './line.js'
import type { BatchError } from './types.js'

/** The priority of lines: all other calls run first. */
const LOWEST = Number.MIN_SAFE_INTEGER

/** Codes of rejections after which a line is tried again later. */
const LATER: ReadonlySet<ErrorCode> = new Set([
  'QUEUE_FULL',
  'BREAKER_OPEN',
  'RATE_LIMITED',
  'BUDGET',
  'TIMEOUT',
])

/** Minimum and maximum delay of a rejected line. Milliseconds. */
const SHORTEST_MS = 1_000
const LONGEST_MS = 3_600_000

/** The methods of a client that batches use. */
export type BatchClient = Pick<Blossom<readonly unknown[]>, 'request'>

/** Counts of the runners. */
export interface RunCounts {
  running: number
  completed: number
  failed: number
  postponed: number
  lost: number
}

/** Data about a batch, stored when it was created. */
interface AboutBatch {
  readonly endpoint: string
  /** The gateway's data, not used here. */
  readonly more?: unknown
}

/** Runs lines as calls of a client, with the lowest priority. */
export class LineRunner implements JobRunner {
  readonly #blossom: BatchClient
  readonly #counts: RunCounts

  constructor(blossom: BatchClient, counts: RunCounts) {
    this.#blossom = blossom
    this.#counts = counts
  }

  async run(job: Job, signal: AbortSignal): Promise<JobResult | { laterMs: number }> {
    if (signal.aborted) return { laterMs: 0 }
    this.#counts.running++
    try {
      const { answer, requestId } = await this.#ask(job, signal)
      this.#counts.completed++
      return resultOf(job.batch, { customId: job.key, ok: true, answer, requestId })
    } catch (error) {
      const laterMs = laterOf(error, signal)
      if (laterMs !== undefined) return await this.#postpone(laterMs, signal)
      this.#counts.failed++
      const { requestId } = error as { requestId?: string }
      return resultOf(job.batch, {
        customId: job.key,
        ok: false,
        error: errorOf(error),
        requestId,
      })
    } finally {
      this.#counts.running--
    }
  }

  unrun({ batch, key }: Pick<Job, 'batch' | 'key'>, reason: UnrunReason): JobResult {
    if (reason === 'lost') this.#counts.lost++
    const result = resultOf(batch, { customId: key, ok: false, error: unrunError(reason) })
    return reason === 'lost' ? result : { ...result, kind: 'unrun' }
  }

  async #ask({ owner, about, text }: Job, signal: AbortSignal) {
    const { endpoint } = JSON.parse(about) as AboutBatch
    const meta = new Map<string, unknown>()
    const answer = await this.#blossom.request(
      { method: 'POST', path: endpoint, body: JSON.parse(text) },
      { signal, meta, priority: LOWEST, ...(owner !== '' && { tenant: owner }) },
    )
    const { requestId } = (meta.get('client') ?? {}) as { requestId?: string }
    return { answer, requestId }
  }

  /**
   * Waits here for a part of the delay, so that rejected lines do not follow each other rapidly.
   */
  async #postpone(laterMs: number, signal: AbortSignal): Promise<{ laterMs: number }> {
    this.#counts.postponed++
    const here = Math.min(laterMs, SHORTEST_MS)
    // A close aborts the wait.
    await sleep(here, cancelOf(signal)).catch(() => {})
    return { laterMs: laterMs - here }
  }
}

/** The delay before a line is tried again; `undefined` if the error is its result. */
function laterOf(error: unknown, signal: AbortSignal): number | undefined {
  if (signal.aborted) return 0
  if (!isStackError(error)) return undefined
  // The client was closed before the worker, which has nothing to do with the line.
  if (error.code === 'CLOSED') return SHORTEST_MS
  if (!error.refused || !LATER.has(error.code)) return undefined
  // With jitter, so that lines do not all start at the same time.
  const wait = (error.retryAfter ?? SHORTEST_MS) * (1 + Math.random() / 4)
  return Math.min(Math.max(wait, SHORTEST_MS), LONGEST_MS)
}

function resultOf(batch: string, result: KeptResult): JobResult {
  return {
    kind: result.ok ? 'completed' : 'failed',
    text: JSON.stringify(result),
    bytes: Buffer.byteLength(toOutputLine(batch, result)) + 1,
  }
}

/** The stored fields of an error: without cause, stack and any part of the prompt. */
function errorOf(error: unknown): BatchError {
  if (!isStackError(error))
    return {
      code: 'INTERNAL',
      message: `The call failed: ${isError(error) ? error.name : typeof error}.`,
    }
  const { code, status } = error
  // Results may be read by tenants.
  const message = safeMessageOf(error)
  const fields = isRecord(error) ? error : {}
  const { upstreamStatus, upstreamCode, upstreamParam } = fields as Partial<BatchError>
  return { code, message, status, upstreamStatus, upstreamCode, upstreamParam }
}
