import type {
  JobFile,
  JobLine,
  JobResult,
  JobsState,
  ListPart,
  SharedFiles,
} from '../../core/index.js'

/** The two lists of results: of completed lines and of all others. */
export type ResultsOf = 'completed' | 'failed'

/** The list to which a result belongs. */
export const resultsOf = (kind: JobResult['kind']): ResultsOf =>
  kind === 'completed' ? 'completed' : 'failed'

/** The header of a batch, stored when it is accepted. */
export interface BatchHeader {
  readonly id: string
  readonly owner: string
  readonly about: string
  readonly digest: string
  readonly total: number
  readonly createdAt: number
  readonly expiresAt: number
  readonly keepMs: number
  /** Its final state, once it has ended. */
  readonly ended?: JobsState | undefined
}

/** The storage of one batch. */
export interface Shelf {
  /** Reads a line's text. */
  text(key: string): Promise<string>
  /** Records that a line was started. */
  begin(key: string): void
  /** Records that a started line did not finish and will run again. */
  putBack(key: string): void
  /** Stores results. Resolves when they would survive a crash of the process. */
  add(results: readonly { readonly key: string; readonly result: JobResult }[]): Promise<void>
  /** Records that no further lines start. */
  close(as: 'cancelling' | 'expiring', at: number): Promise<void>
  /** Records the end of the batch. */
  end(state: JobsState): Promise<void>
  results(of: ResultsOf, from: number, limit: number): Promise<readonly string[]>
  drop(of: ResultsOf, state: JobsState): Promise<void>
  /** Deletes the batch. */
  remove(): Promise<void>
  /** Closes files. The next operation opens them again. */
  release(): Promise<void>
}

/** A batch with its storage, as loaded or created. */
export interface KeptBatch {
  readonly header: BatchHeader
  readonly shelf: Shelf
  /** Number of runs of each line without a result, in the order of the lines. */
  readonly runs: ReadonlyMap<string, number>
  readonly completed: number
  readonly failed: number
  readonly unrun: number
  readonly completedBytes: number
  readonly failedBytes: number
  readonly closing?: { readonly as: 'cancelling' | 'expiring'; readonly at: number } | undefined
}

/** The storage of batches and files. */
export interface Shelves {
  readonly files: SharedFiles
  /** Opens the storage and loads the stored batches. */
  open(): Promise<readonly KeptBatch[]>
  /** Stores a batch atomically. */
  add(
    pages: AsyncIterable<readonly JobLine[]>,
    header: (total: number) => BatchHeader,
  ): Promise<KeptBatch>
  /** Deletes expired files. */
  sweep(): Promise<void>
  release(): Promise<void>
}

/** A page of an owner's entries, newest first unless reversed. */
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

/** A batch that has just been accepted. */
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
