import type { CloseOptions, SharedState } from '../core/index.js'

/** Options of `createBatches()`. Give `shared` or `directory`, or neither for batches in memory. */
export interface BatchesOptions {
  /**
   * Shared state from `redisShared()`, which stores the batches. Workers of all processes run lines
   * of all batches.
   * @default none
   */
  shared?: SharedState | undefined
  /**
   * Path of a directory that stores the batches, so that they survive a restart. Only one process
   * at a time can use it.
   * @default none
   */
  directory?: string | undefined
  /**
   * With `shared`: name of the batches. Processes with the same name share them.
   * @default 'batches'
   */
  name?: string | undefined
  /** Maximum number of lines that a worker runs at once, 1 to 10,000. @default 5 */
  concurrency?: number | undefined
  /**
   * Time from the creation of a batch after which its remaining lines are no longer started.
   * Milliseconds, at least 1,000.
   * @default 86400000 (24 h)
   */
  expireMs?: number | undefined
  /**
   * How long a batch and its results are stored after its end. Milliseconds, at least 1,000.
   * @default 2592000000 (30 days)
   */
  keepMs?: number | undefined
  /**
   * With `shared`: time after which a silent worker counts as dead. Its lines are found within
   * three times this value, and run again. Milliseconds, 1,000 to 3,600,000.
   * @default 30000
   */
  stalledMs?: number | undefined
}

/** The routes that batches may call, which all answer in JSON. */
export type BatchEndpoint = '/v1/chat/completions' | '/v1/embeddings' | '/v1/images/generations'

/** A line of a batch: the body of a request to the batch's endpoint. */
export type BatchItem = Readonly<Record<string, unknown>>

/** Options of `create()`. */
export interface CreateBatchOptions {
  /**
   * Id of the batch, 1 to 512 characters. Creating the same batch with the same id again has no
   * effect, which makes retries safe.
   * @default a new id
   */
  id?: string | undefined
  /** Unique id for each item, which its result repeats. @default '0', '1', '2', … */
  customIds?: readonly string[] | undefined
  /** Route to which all items are sent. @default '/v1/chat/completions' */
  endpoint?: BatchEndpoint | undefined
  /** Tenant of the calls, for limits, fairness and caches. @default none */
  tenant?: string | undefined
}

/** Status of a batch. */
export interface BatchStatus {
  readonly id: string
  /**
   * Status, with OpenAI's names. `validating`: lines are being enqueued. `finalizing` and
   * `cancelling`: no further lines start, but some still run. `failed`: the input was invalid.
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
  /**
   * Counts of lines. Lines not run because the batch was cancelled or expired count only in
   * `total`.
   */
  readonly requestCounts: {
    readonly total: number
    readonly completed: number
    readonly failed: number
  }
}

/** Why a line has no answer. */
export interface BatchError {
  /**
   * Code of the call's error, or the reason why there was none: `lost` if workers died repeatedly
   * while the line was running; `cancelled` or `expired` if the line never ran.
   */
  readonly code: string
  /** Message, without prompts and keys. */
  readonly message: string
  /** HTTP status of the error. */
  readonly status?: number | undefined
  /** Upstream's HTTP status, if it answered. */
  readonly upstreamStatus?: number | undefined
  /** Upstream's own error code. */
  readonly upstreamCode?: string | undefined
  /** The invalid field of the request, as reported by upstream. */
  readonly upstreamParam?: string | undefined
}

/** The result of one line. */
export type BatchResult =
  | {
      readonly customId: string
      readonly ok: true
      /** The body of the answer, unchanged. */
      readonly answer: unknown
    }
  | { readonly customId: string; readonly ok: false; readonly error: BatchError }

/** Options of `results()`. */
export interface ResultsOptions {
  /** Whether to wait for further results until the batch has ended. @default true */
  wait?: boolean | undefined
  /** Aborts the wait; the generator throws the signal's reason. @default none */
  signal?: AbortSignal | undefined
}

/** A worker that runs lines in this process. */
export interface BatchWorker {
  /**
   * Starts no further lines and waits for running ones. Lines that still run after `timeoutMs`
   * (default 30,000) are aborted, and run again later or in another process.
   */
  close(options?: CloseOptions): Promise<void>
}

/** Stats of this process. Counters, except where marked as gauges. */
export interface BatchesStats {
  /** Accepted batches. */
  readonly created: number
  /** Gauge: workers. */
  readonly workers: number
  /** Gauge: running lines. */
  readonly running: number
  /** Lines that were answered. */
  readonly completed: number
  /** Lines whose call failed. */
  readonly failed: number
  /** Runs of lines that were postponed, because a layer rejected them or the worker was closed. */
  readonly postponed: number
  /** Lines that were given up, because their workers died. */
  readonly lost: number
}

/** Batches of calls, from `createBatches()`. */
export interface Batches {
  /**
   * Creates a batch, with all items or none. The batch is stored when this resolves.
   * @throws ValidationError (`VALIDATION`) if an item is invalid, a custom id is not unique, or the
   * id is in use for other items; `StackError` with status 503 if the batch cannot be stored
   */
  create(
    items: Iterable<BatchItem> | AsyncIterable<BatchItem>,
    options?: CreateBatchOptions,
  ): Promise<{ readonly id: string }>
  /**
   * Returns the status of a batch.
   * @throws StackError (`NOT_FOUND`) if there is no such batch, or it has expired
   */
  status(id: string): Promise<BatchStatus>
  /**
   * Yields the result of each line: first those that are available, then further ones as they
   * arrive, until the batch has ended.
   * @throws StackError (`NOT_FOUND`) if there is no such batch, or it has expired
   */
  results(id: string, options?: ResultsOptions): AsyncGenerator<BatchResult, undefined, undefined>
  /** Cancels a batch. Running lines may finish; no further lines start. */
  cancel(id: string): Promise<void>
  /** Starts to run lines in this process. */
  worker(): BatchWorker
  /** Closes the workers, and releases the directory or the connections. */
  close(options?: CloseOptions): Promise<void>
  /** Returns the stats of this process. */
  stats(): BatchesStats
}
