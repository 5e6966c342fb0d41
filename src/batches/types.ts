import type { CloseOptions, SharedState } from '../core/index.js'

/** Options of `createBatches()`: `shared` or `directory`; without either, batches are in memory. */
export interface BatchesOptions {
  /** State that processes share, from `redisShared()`: any of them takes lines of any batch. */
  shared?: SharedState | undefined
  /** A directory for batches that outlive the process. One process at a time may have it. */
  directory?: string | undefined
  /** Batches of one name have their lines in common, where they are shared. @default 'batches' */
  name?: string | undefined
  /** Lines that a worker of this process runs at once. @default 5 */
  concurrency?: number | undefined
  /**
   * Lines of a batch that have not begun so long after it was accepted never do. Milliseconds.
   * @default 86400000 (24 h)
   */
  expireMs?: number | undefined
  /**
   * A batch is forgotten so long after it has ended, with its results. Milliseconds.
   * @default 2592000000 (30 days)
   */
  keepMs?: number | undefined
  /**
   * With `shared`: a worker that was not heard of for so long has died. What it ran is found within
   * three times that. Milliseconds.
   * @default 30000
   */
  stalledMs?: number | undefined
}

/** The routes that batches may call: all that answer in JSON. */
export type BatchEndpoint = '/v1/chat/completions' | '/v1/embeddings' | '/v1/images/generations'

/** A line of a batch: the body of a request, as the endpoint takes it. */
export type BatchItem = Readonly<Record<string, unknown>>

/** Options of `create()`. */
export interface CreateBatchOptions {
  /**
   * Names the batch. The same id with the same items again is no new batch.
   * @default a new one
   */
  id?: string | undefined
  /** A name for each item, by which its result is found. @default '0', '1', '2', … */
  customIds?: readonly string[] | undefined
  /** The route that each item is sent to. @default '/v1/chat/completions' */
  endpoint?: BatchEndpoint | undefined
  /** On whose behalf the calls are made: for limits, fairness and caches. */
  tenant?: string | undefined
}

/** How far a batch is. */
export interface BatchStatus {
  readonly id: string
  /**
   * OpenAI's words. `validating`: its lines are being lined up; `finalizing` and `cancelling`:
   * nothing more of it begins, some of it still runs; `failed`: its input was wrong.
   */
  readonly status:
    | 'validating'
    | 'in_progress'
    | 'finalizing'
    | 'completed'
    | 'failed'
    | 'cancelling'
    | 'cancelled'
    | 'expired'
  /** Lines that never ran, as the batch was cancelled or has expired, are in neither of the last two. */
  readonly requestCounts: {
    readonly total: number
    readonly completed: number
    readonly failed: number
  }
}

/** Why a line has no answer. */
export interface BatchError {
  /**
   * The code of the error with which the call ended; or `lost`: it was running when its worker died,
   * twice; `cancelled` and `expired`: it never ran.
   */
  readonly code: string
  /** A sentence without prompts and keys. */
  readonly message: string
  /** HTTP status of the error. */
  readonly status?: number | undefined
  /** Upstream's status, where it has answered. */
  readonly upstreamStatus?: number | undefined
  /** Upstream's own code. */
  readonly upstreamCode?: string | undefined
  /** The field of the request that upstream names. */
  readonly upstreamParam?: string | undefined
}

/** What has become of one line. */
export type BatchResult =
  | {
      readonly customId: string
      readonly ok: true
      /** The answer's body, as it came. */
      readonly answer: unknown
    }
  | { readonly customId: string; readonly ok: false; readonly error: BatchError }

/** Options of `results()`. */
export interface ResultsOptions {
  /** Waits for the results that are still to come. @default true */
  wait?: boolean | undefined
  /** Ends the wait with its reason. */
  signal?: AbortSignal | undefined
}

/** Runs lines in this process. */
export interface BatchWorker {
  /**
   * Takes no more lines and waits for those that run. What still runs after `timeoutMs` (30 s) is
   * aborted, and runs again elsewhere or later.
   */
  close(options?: CloseOptions): Promise<void>
}

/** Counters of this process; gauges are so marked. */
export interface BatchesStats {
  /** Batches that were accepted. */
  readonly created: number
  /** Gauge: workers. */
  readonly workers: number
  /** Gauge: lines that run. */
  readonly running: number
  /** Lines that were answered. */
  readonly completed: number
  /** Lines whose call failed. */
  readonly failed: number
  /** Lines that were put back as a layer refused them, or as the worker was closed. */
  readonly postponed: number
  /** Lines that were given up, as their workers died. */
  readonly lost: number
}

/** Batches of calls that outlive the process. */
export interface Batches {
  /**
   * Accepts a batch, whole or not at all. When this resolves, the batch is kept.
   * @throws ValidationError for wrong items, a custom id that comes twice, or other items under a
   * known id; a `StackError` with status 503 where the batch cannot be kept
   */
  create(
    items: Iterable<BatchItem> | AsyncIterable<BatchItem>,
    options?: CreateBatchOptions,
  ): Promise<{ readonly id: string }>
  /** @throws StackError code `NOT_FOUND` for an id that is not known, or no longer */
  status(id: string): Promise<BatchStatus>
  /**
   * A result for each line, as they come. Those that are there come first; then it waits for the
   * others until the batch has ended.
   * @throws StackError code `NOT_FOUND` for an id that is not known, or no longer
   */
  results(id: string, options?: ResultsOptions): AsyncGenerator<BatchResult, undefined, undefined>
  /** Lets no more lines of a batch begin. Those that run may finish. */
  cancel(id: string): Promise<void>
  /** Begins to run lines in this process. */
  worker(): BatchWorker
  /** Closes the workers, and gives the directory or the connections back. */
  close(options?: CloseOptions): Promise<void>
  stats(): BatchesStats
}
