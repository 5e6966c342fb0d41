import { createHash } from 'node:crypto'

/** The id of a line's job. Depends only on the batch and the line's key. */
export const jobIdOf = (batch: string, key: string): string =>
  createHash('sha256')
    .update(JSON.stringify([batch, key]))
    .digest('hex')

/** One line of a batch. */
export interface JobLine {
  /** Identifies the line within its batch. */
  readonly key: string
  readonly text: string
}

/** The result of a line. Each line gets exactly one, written once. */
export interface JobResult {
  /** `unrun`: the batch closed before the line was run. */
  readonly kind: 'completed' | 'failed' | 'unrun'
  readonly text: string
  /** What it adds to the size of the batch's results. */
  readonly bytes: number
}

/** A batch to accept. */
export interface NewJobs {
  readonly id: string
  /** Whose batch it is; empty when it has no owner. */
  readonly owner: string
  /** Further data of the creator, as text. */
  readonly about: string
  /** Lines not finished this long after acceptance are not started. Milliseconds. */
  readonly expireMs: number
  /** How long a finished batch is kept. Milliseconds. */
  readonly keepMs: number
  /** Why the batch ends before it starts. Only for a batch without lines. */
  readonly ended?: 'rejected' | undefined
}

/**
 * The status of a batch. `preparing`: some lines are not queued yet. `cancelling`, `expiring`: no
 * more lines start. `rejected`: the batch never started.
 */
export type JobsStatus =
  | 'preparing'
  | 'running'
  | 'cancelling'
  | 'expiring'
  | 'completed'
  | 'cancelled'
  | 'expired'
  | 'rejected'

/** The state of a batch. Times are milliseconds since the epoch. */
export interface JobsState {
  readonly id: string
  readonly owner: string
  readonly about: string
  readonly status: JobsStatus
  /** Number of lines. */
  readonly total: number
  readonly completed: number
  readonly failed: number
  readonly unrun: number
  /** Sizes of the results: of completed lines, and of all others. */
  readonly completedBytes: number
  readonly failedBytes: number
  readonly createdAt: number
  /** When all of its lines were queued. */
  readonly startedAt?: number | undefined
  /** When it was cancelled or began to expire. */
  readonly closingAt?: number | undefined
  readonly endedAt?: number | undefined
  readonly expiresAt: number
  /** Which results were deleted. */
  readonly dropped: { readonly completed: boolean; readonly failed: boolean }
}

/** Why a line is not run. */
export type UnrunReason = 'lost' | 'cancelled' | 'expired'

/** A line to run now. */
export interface Job extends JobLine {
  readonly batch: string
  readonly owner: string
  readonly about: string
}

/** Runs the lines of batches. */
export interface JobRunner {
  /**
   * Runs a line. Never rejects. `{ laterMs }` requeues the line, as if it had never started, for at
   * least that many milliseconds. A line whose run was aborted is requeued as well.
   */
  run(job: Job, signal: AbortSignal): Promise<JobResult | { readonly laterMs: number }>
  /** Returns the result of a line that is not run. */
  unrun(job: Pick<Job, 'batch' | 'key'>, reason: UnrunReason): JobResult
}

/** A position in a list: the entry after which to continue. */
export interface ListPlace {
  /** When the entry was created. Milliseconds since the epoch. */
  readonly at: number
  readonly id: string
}

/** A page of a list, newest first unless `reversed`. */
export interface ListPart {
  readonly after?: ListPlace | undefined
  readonly limit: number
  readonly reversed?: boolean | undefined
}

/** A file to keep. */
export interface NewJobFile {
  readonly id: string
  readonly owner: string
}

/** What is known about a file once all of it has arrived. */
export interface JobFileTerms {
  readonly about: string
  /** How long the file is kept. Milliseconds. */
  readonly keepMs: number
}

/** A stored file. Times are milliseconds since the epoch. */
export interface JobFile {
  readonly id: string
  readonly owner: string
  readonly about: string
  readonly bytes: number
  readonly createdAt: number
  readonly expiresAt: number
}

/** Files of lines that batches are created from. */
export interface SharedFiles {
  /**
   * Stores the whole file, or nothing when `pieces` fails. `terms` is called after the last piece.
   */
  put(file: NewJobFile, pieces: AsyncIterable<string>, terms: () => JobFileTerms): Promise<JobFile>
  get(id: string): Promise<JobFile | undefined>
  list(owner: string, part: ListPart): Promise<readonly JobFile[]>
  /** The file's pieces, as they were stored. */
  read(id: string): AsyncGenerator<string, undefined, undefined>
  /** Resolves with whether the file existed. */
  delete(id: string): Promise<boolean>
}

/** Takes lines and runs them. */
export interface JobWorker {
  /**
   * Takes no more lines and waits for those that run. After `timeoutMs` it aborts them, so that
   * they are requeued.
   */
  close(timeoutMs: number): Promise<void>
}

/**
 * Batches of lines that outlive the process that accepted them. The lines of all batches take
 * turns. Unlike other shared state, its methods reject when they fail, because one process alone
 * cannot keep the promise to run a batch.
 */
export interface SharedJobs {
  readonly files: SharedFiles
  /**
   * Accepts the whole batch, or nothing when `pages` fails. `digest` is called after the last page;
   * it tells whether a batch with the same id is the same batch.
   */
  add(
    batch: NewJobs,
    pages: AsyncIterable<readonly JobLine[]>,
    digest: () => string,
  ): Promise<'added' | 'same' | 'other'>
  get(id: string): Promise<JobsState | undefined>
  list(owner: string, part: ListPart): Promise<readonly JobsState[]>
  /** Lets no more lines of a batch start. Lines that run may finish. */
  close(id: string, as: 'cancelled' | 'expired'): Promise<void>
  /** Results in order of completion: of completed lines, or of all others. */
  results(id: string, of: 'completed' | 'failed', from: number): Promise<readonly string[]>
  /** Deletes the results of a finished batch. */
  drop(id: string, of: 'completed' | 'failed'): Promise<void>
  /** Starts to take lines, at most `concurrency` at a time. */
  work(concurrency: number): JobWorker
  /** Releases everything held. Close the workers first. */
  end(): Promise<void>
}

/** How the jobs of a name are kept and run. */
export interface SharedJobsOptions {
  /** Runs the lines, and creates the results of lines that are not run. */
  readonly runner: JobRunner
  /** A worker that has sent no sign of life for this long counts as dead. Milliseconds. */
  readonly stalledMs: number
}
