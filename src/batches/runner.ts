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
  sleep,
  type UnrunReason,
} from '../core/index.js'
import { type KeptResult, toOutputLine, unrunError } from './line.js'
import type { BatchError } from './types.js'

/** Anybody who waits for an answer goes first. */
const LOWEST = Number.MIN_SAFE_INTEGER

/** Refusals that a later try may not meet: the call never ran. */
const LATER: ReadonlySet<ErrorCode> = new Set([
  'QUEUE_FULL',
  'BREAKER_OPEN',
  'RATE_LIMITED',
  'BUDGET',
  'TIMEOUT',
])

/** How long a line that was refused waits at least, and at most. Milliseconds. */
const SHORTEST_MS = 1_000
const LONGEST_MS = 3_600_000

/** What batches need of a client. */
export type BatchClient = Pick<Blossom<readonly unknown[]>, 'request'>

/** What runners have counted. */
export interface RunCounts {
  running: number
  completed: number
  failed: number
  postponed: number
  lost: number
}

/** What a batch's creator wants to know of it when its lines run. */
interface AboutBatch {
  readonly endpoint: string
  /** Not needed here: what the gateway keeps with a batch. */
  readonly more?: unknown
}

/** Runs lines as calls of a client, behind everybody else's. */
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

  /** A part of the wait is spent here: where all lines are refused, they do not rush past. */
  async #postpone(laterMs: number, signal: AbortSignal): Promise<{ laterMs: number }> {
    this.#counts.postponed++
    const here = Math.min(laterMs, SHORTEST_MS)
    // Whoever closes does not wait for it.
    await sleep(here, cancelOf(signal)).catch(() => {})
    return { laterMs: laterMs - here }
  }
}

/** How long a line is to wait; undefined for a failure that is its result. */
function laterOf(error: unknown, signal: AbortSignal): number | undefined {
  if (signal.aborted) return 0
  if (!isStackError(error)) return undefined
  // The client was closed before the worker: that says nothing of the line.
  if (error.code === 'CLOSED') return SHORTEST_MS
  if (!error.refused || !LATER.has(error.code)) return undefined
  // Not all at the same moment.
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

/** What is kept of an error: no cause, no stack, nothing of the prompt. */
function errorOf(error: unknown): BatchError {
  if (!isStackError(error))
    return {
      code: 'INTERNAL',
      message: `The call failed: ${isError(error) ? error.name : typeof error}.`,
    }
  const { code, message, status } = error
  const fields = isRecord(error) ? error : {}
  const { upstreamStatus, upstreamCode, upstreamParam } = fields as Partial<BatchError>
  return { code, message, status, upstreamStatus, upstreamCode, upstreamParam }
}
