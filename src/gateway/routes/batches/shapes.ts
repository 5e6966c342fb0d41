import type { BatchesInternals } from '../../../batches/internals.js'
import type { JobFile, JobsState } from '../../../core/index.js'

/** The gateway's data about a file. */
export interface AboutFile {
  readonly filename: string
}

/** A problem with a line of a batch. */
export interface LineProblem {
  readonly code: string
  readonly message: string
  readonly param: string | null
  readonly line: number | null
}

/** The gateway's data about a batch. */
interface AboutBatch {
  readonly endpoint: string
  readonly more?:
    | {
        readonly inputFileId: string
        readonly metadata: Readonly<Record<string, string>> | null
        readonly errors?: readonly LineProblem[] | undefined
      }
    | undefined
}

/** The two results files of a batch: answers and errors. */
export type ResultsKind = 'completed' | 'failed'

const SUFFIXES: Readonly<Record<ResultsKind, string>> = { completed: 'output', failed: 'error' }

const inSeconds = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.floor(ms / 1_000)

/** The public fields of a file. */
export type FileFacts = Omit<JobFile, 'owner' | 'about'>

/** An upload as OpenAI's file object. */
export function toUploadObject(file: JobFile): FileObject {
  const { filename } = JSON.parse(file.about) as AboutFile
  return toFileObject(file, filename, 'batch')
}

/** A results file as OpenAI's file object. */
export const toResultsObject = (
  { id }: Pick<JobsState, 'id'>,
  kind: ResultsKind,
  file: FileFacts,
): FileObject => toFileObject(file, `${id}_${SUFFIXES[kind]}.jsonl`, 'batch_output')

interface FileObject {
  readonly id: string
}

function toFileObject(
  { id, bytes, createdAt, expiresAt }: FileFacts,
  filename: string,
  purpose: 'batch' | 'batch_output',
): FileObject {
  const times = { created_at: inSeconds(createdAt), expires_at: inSeconds(expiresAt) }
  const object = { id, object: 'file', bytes, ...times, filename, purpose, status: 'processed' }
  return object
}

/** The id of a results file, which contains the id of its batch. */
const resultsFileId = (batch: string, kind: ResultsKind): string =>
  `file-${Buffer.from(batch).toString('base64url')}-${SUFFIXES[kind]}`

/** Parses the id of a results file; `undefined` for other ids. */
export function readResultsFileId(
  id: string,
): { readonly batch: string; readonly kind: ResultsKind } | undefined {
  const [, encoded, suffix] = /^file-([\w-]+)-(output|error)$/.exec(id) ?? []
  if (encoded === undefined) return undefined
  const batch = Buffer.from(encoded, 'base64url').toString('utf8')
  return { batch, kind: suffix === 'output' ? 'completed' : 'failed' }
}

/** A results file of a batch; `undefined` if it would be empty. */
export function resultsFile(
  state: JobsState,
  kind: ResultsKind,
  keepMs: number,
): FileFacts | undefined {
  const { id, endedAt, completed, failed, unrun, completedBytes, failedBytes, dropped } = state
  const count = kind === 'completed' ? completed : failed + unrun
  if (endedAt === undefined || count === 0 || dropped[kind]) return undefined
  return {
    id: resultsFileId(id, kind),
    bytes: kind === 'completed' ? completedBytes : failedBytes,
    createdAt: endedAt,
    expiresAt: endedAt + keepMs,
  }
}

/** The times at which a batch reached each of OpenAI's statuses. */
function timesOf({ status, createdAt, startedAt, closingAt, endedAt, expiresAt }: JobsState) {
  const isCancelled = status === 'cancelling' || status === 'cancelled'
  const ended = inSeconds(endedAt)
  const closing = inSeconds(closingAt)
  const times = {
    in_progress_at: inSeconds(startedAt),
    finalizing_at: isCancelled || status === 'rejected' ? undefined : (closing ?? ended),
    completed_at: status === 'completed' ? ended : undefined,
    failed_at: status === 'rejected' ? ended : undefined,
    expired_at: status === 'expired' ? ended : undefined,
    cancelling_at: isCancelled ? closing : undefined,
    cancelled_at: status === 'cancelled' ? ended : undefined,
  }
  return {
    created_at: inSeconds(createdAt),
    expires_at: inSeconds(expiresAt),
    ...Object.fromEntries(Object.entries(times).map(([name, at]) => [name, at ?? null])),
  }
}

/** A batch as OpenAI's batch object. */
export function toBatchObject(state: JobsState, batches: BatchesInternals): object {
  const { id, about, total, completed, failed } = state
  const { endpoint, more } = JSON.parse(about) as AboutBatch
  const fileId = (kind: ResultsKind) => resultsFile(state, kind, batches.keepMs)?.id ?? null
  return {
    id,
    object: 'batch',
    endpoint,
    errors: more?.errors === undefined ? null : { object: 'list', data: more.errors },
    // Empty for a batch that was not created from a file.
    input_file_id: more?.inputFileId ?? '',
    completion_window: '24h',
    status: batches.statusOf(state),
    output_file_id: fileId('completed'),
    error_file_id: fileId('failed'),
    ...timesOf(state),
    request_counts: { total, completed, failed },
    metadata: more?.metadata ?? null,
  }
}

/** A page of a list, in OpenAI's format. */
export function toList(data: readonly { readonly id?: unknown }[], hasMore: boolean): object {
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  }
}
