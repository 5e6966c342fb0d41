import type {
  JobFile,
  JobLine,
  JobResult,
  JobsState,
  ListPart,
  SharedFiles,
} from '../../core/index.js'

/** Which results: those of lines that were completed, or of all others. */
export type ResultsOf = 'completed' | 'failed'

/** Which results a result belongs to. */
export const resultsOf = (kind: JobResult['kind']): ResultsOf =>
  kind === 'completed' ? 'completed' : 'failed'

/** A batch as it is written down when it is accepted. */
export interface BatchHeader {
  readonly id: string
  readonly owner: string
  readonly about: string
  readonly digest: string
  readonly total: number
  readonly createdAt: number
  readonly expiresAt: number
  readonly keepMs: number
  /** How it ended, once it has. */
  readonly ended?: JobsState | undefined
}

/** Where the lines and the results of one batch are. */
export interface Shelf {
  /** A line's text. */
  text(key: string): Promise<string>
  /** A line begins. */
  begin(key: string): void
  /** A line that began did not run to its end, and will run again. */
  putBack(key: string): void
  /** Resolves when the results will outlive the process. */
  add(results: readonly { readonly key: string; readonly result: JobResult }[]): Promise<void>
  /** No more lines begin. */
  close(as: 'cancelling' | 'expiring', at: number): Promise<void>
  /** The batch is over. */
  end(state: JobsState): Promise<void>
  results(of: ResultsOf, from: number, limit: number): Promise<readonly string[]>
  drop(of: ResultsOf, state: JobsState): Promise<void>
  /** Forgets everything. */
  remove(): Promise<void>
  /** Gives back what is held; the shelf is used again when it is asked something. */
  release(): Promise<void>
}

/** A batch with its shelf, as it was found or made. */
export interface KeptBatch {
  readonly header: BatchHeader
  readonly shelf: Shelf
  /** How often each line that has no result has begun, in the order of the lines. */
  readonly runs: ReadonlyMap<string, number>
  readonly completed: number
  readonly failed: number
  readonly unrun: number
  readonly completedBytes: number
  readonly failedBytes: number
  readonly closing?: { readonly as: 'cancelling' | 'expiring'; readonly at: number } | undefined
}

/** Where batches and files are kept. */
export interface Shelves {
  readonly files: SharedFiles
  /** What was kept before. */
  open(): Promise<readonly KeptBatch[]>
  /** Keeps a batch whole, or nothing of it. */
  add(
    pages: AsyncIterable<readonly JobLine[]>,
    header: (total: number) => BatchHeader,
  ): Promise<KeptBatch>
  /** Forgets files whose time has come. */
  sweep(): Promise<void>
  release(): Promise<void>
}

/** The entries of an owner behind a place of the list, newest first. */
export function partOf<Entry extends Pick<JobFile, 'id' | 'owner' | 'createdAt'>>(
  entries: Iterable<Entry>,
  owner: string,
  { after, limit, reversed = false }: ListPart,
): Entry[] {
  const sign = reversed ? -1 : 1
  const order = (a: { at: number; id: string }, b: { at: number; id: string }) =>
    sign * (b.at - a.at || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0))
  const placeOf = ({ createdAt, id }: Entry) => ({ at: createdAt, id })
  return [...entries]
    .filter((entry) => entry.owner === owner)
    .filter((entry) => after === undefined || order(placeOf(entry), after) > 0)
    .sort((a, b) => order(placeOf(a), placeOf(b)))
    .slice(0, limit)
}

/** A batch that has just been accepted: nothing has happened to it. */
export const freshBatch = (
  header: BatchHeader,
  shelf: Shelf,
  keys: Iterable<string>,
): KeptBatch => ({
  header,
  shelf,
  runs: new Map([...keys].map((key) => [key, 0])),
  completed: 0,
  failed: 0,
  unrun: 0,
  completedBytes: 0,
  failedBytes: 0,
})
