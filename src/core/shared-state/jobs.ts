import { createHash } from 'node:crypto'

/** The id of a line's job: the same for the same line of the same batch. */
export const jobIdOf = (batch: string, key: string): string =>
  createHash('sha256')
    .update(JSON.stringify([batch, key]))
    .digest('hex')

/** One line of a batch. */
export interface JobLine {
  /** Tells the lines of a batch apart. */
  readonly key: string
  readonly text: string
}

/** What has become of a line. Each line has one in the end, and it is written once. */
export interface JobResult {
  /** `unrun`: the line was never run, as its batch was closed before. */
  readonly kind: 'completed' | 'failed' | 'unrun'
  readonly text: string
  /** What it adds to the size of the batch's results. */
  readonly bytes: number
}

/** A batch that is to be accepted. */
export interface NewJobs {
  readonly id: string
  /** On whose behalf; empty for nobody in particular. */
  readonly owner: string
  /** What else its creator wants to know of it. */
  readonly about: string
  /** Lines that are not done so long after the batch was accepted are not begun. Milliseconds. */
  readonly expireMs: number
  /** A batch that has ended is forgotten after so long. Milliseconds. */
  readonly keepMs: number
  /** Why it is over before it begins; only for a batch without lines. */
  readonly ended?: 'rejected' | undefined
}

/**
 * Where a batch is. `preparing`: its lines are not all in the line yet; `cancelling` and `expiring`:
 * nothing more of it begins; `rejected`: it never began.
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

/** What is known of a batch. Times are milliseconds since the epoch. */
export interface JobsState {
  readonly id: string
  readonly owner: string
  readonly about: string
  readonly status: JobsStatus
  /** How many lines it has. */
  readonly total: number
  readonly completed: number
  readonly failed: number
  readonly unrun: number
  /** Sizes of the results: those of the lines that were completed, and of all others. */
  readonly completedBytes: number
  readonly failedBytes: number
  readonly createdAt: number
  /** When all of its lines were in the line. */
  readonly startedAt?: number | undefined
  /** When it was cancelled, or began to expire. */
  readonly closingAt?: number | undefined
  readonly endedAt?: number | undefined
  readonly expiresAt: number
  /** Whether results were deleted. */
  readonly dropped: { readonly completed: boolean; readonly failed: boolean }
}

/** Why a line is not run. */
export type UnrunReason = 'lost' | 'cancelled' | 'expired'

/** A line whose turn it is. */
export interface Job extends JobLine {
  readonly batch: string
  readonly owner: string
  readonly about: string
}

/** How lines are run. */
export interface JobRunner {
  /**
   * Runs a line. It never rejects. `{ laterMs }` puts the line back, as if it had never begun, for
   * at least so long; a line whose run was aborted is put back as well.
   */
  run(job: Job, signal: AbortSignal): Promise<JobResult | { readonly laterMs: number }>
  /** The result of a line that is not run. */
  unrun(job: Pick<Job, 'batch' | 'key'>, reason: UnrunReason): JobResult
}

/** Where a list goes on: behind this entry. */
export interface ListPlace {
  /** When the entry was made. Milliseconds since the epoch. */
  readonly at: number
  readonly id: string
}

/** A part of a list, newest first unless it is `reversed`. */
export interface ListPart {
  readonly after?: ListPlace | undefined
  readonly limit: number
  readonly reversed?: boolean | undefined
}

/** A file that is to be kept. */
export interface NewJobFile {
  readonly id: string
  readonly owner: string
}

/** What is known of a file when all of it has come. */
export interface JobFileTerms {
  readonly about: string
  /** The file is forgotten after so long. Milliseconds. */
  readonly keepMs: number
}

/** What is known of a file that is kept. Times are milliseconds since the epoch. */
export interface JobFile {
  readonly id: string
  readonly owner: string
  readonly about: string
  readonly bytes: number
  readonly createdAt: number
  readonly expiresAt: number
}

/** Files of lines, from which batches are made. */
export interface SharedFiles {
  /**
   * Keeps a file whole, or nothing of it when the pieces fail. The terms are asked for behind the
   * last piece.
   */
  put(file: NewJobFile, pieces: AsyncIterable<string>, terms: () => JobFileTerms): Promise<JobFile>
  get(id: string): Promise<JobFile | undefined>
  list(owner: string, part: ListPart): Promise<readonly JobFile[]>
  /** The file's pieces, as they were put. */
  read(id: string): AsyncGenerator<string, undefined, undefined>
  /** Resolves with whether it was there. */
  delete(id: string): Promise<boolean>
}

/** Who takes lines and runs them. */
export interface JobWorker {
  /**
   * Takes no more lines, waits for those that run, and after `timeoutMs` aborts them, so that they
   * are put back.
   */
  close(timeoutMs: number): Promise<void>
}

/**
 * Batches of lines that outlive the process that accepted them, and the lines of all batches, which
 * take turns. Whatever is asked rejects when it cannot be kept or found out: a promise that lasts
 * cannot be given by a process alone.
 */
export interface SharedJobs {
  readonly files: SharedFiles
  /**
   * Accepts a batch whole, or nothing of it when the pages fail. By its digest, which is asked for
   * behind the last page, a batch is told from another one of the same id.
   */
  add(
    batch: NewJobs,
    pages: AsyncIterable<readonly JobLine[]>,
    digest: () => string,
  ): Promise<'added' | 'same' | 'other'>
  get(id: string): Promise<JobsState | undefined>
  list(owner: string, part: ListPart): Promise<readonly JobsState[]>
  /** Lets no more lines of a batch begin. Those that run may finish. */
  close(id: string, as: 'cancelled' | 'expired'): Promise<void>
  /** Results in the order in which they came: of lines that were completed, or of all others. */
  results(id: string, of: 'completed' | 'failed', from: number): Promise<readonly string[]>
  /** Deletes results of a batch that has ended. */
  drop(id: string, of: 'completed' | 'failed'): Promise<void>
  /** Begins to take lines, at most `concurrency` at a time. */
  work(concurrency: number): JobWorker
  /** Gives back what is held. Workers are closed before. */
  end(): Promise<void>
}

/** How the jobs of a name are kept and run. */
export interface SharedJobsOptions {
  /** Runs the lines, and says what becomes of those that are not run. */
  /** Does a line, and tells what it knows of a batch. */
  readonly runner: JobRunner
  /** A worker that was not heard of for so long has died. Milliseconds. */
  readonly stalledMs: number
}
