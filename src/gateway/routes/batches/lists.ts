import type { JobsState, ListPart, ListPlace } from '../../../core/index.js'
import { ValidationError } from '../../../core/index.js'
import type { Incoming, Reply } from '../../server/message.js'
import { json } from '../../server/reply.js'
import type { RouteCall, RouteTools } from '../route.js'
import { BatchScope } from './scope.js'
import {
  type FileFacts,
  type ResultsKind,
  readResultsFileId,
  resultsFile,
  toBatchObject,
  toList,
  toResultsObject,
  toUploadObject,
} from './shapes.js'

/** The query of a list. */
interface ListQuery {
  readonly limit: number
  readonly after: string | undefined
  readonly reversed: boolean
  readonly purpose: string | undefined
}

function readQuery(
  { target }: Incoming,
  { fallback, most }: { readonly fallback: number; readonly most: number },
): ListQuery {
  const query = new URLSearchParams(target.split('?')[1])
  const limit = Number(query.get('limit') ?? fallback)
  if (!Number.isInteger(limit) || limit < 1 || limit > most)
    throw new ValidationError(`The query's "limit" must be an integer from 1 to ${most}.`)
  const order = query.get('order') ?? 'desc'
  if (order !== 'desc' && order !== 'asc')
    throw new ValidationError('The query\'s "order" must be "asc" or "desc".')
  return {
    limit,
    after: query.get('after') ?? undefined,
    reversed: order === 'asc',
    purpose: query.get('purpose') ?? undefined,
  }
}

/** `GET /v1/batches` */
export async function listBatches(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  const { batches, owner } = scope
  const { limit, after, reversed } = readQuery(call.incoming, { fallback: 20, most: 100 })
  const start = after === undefined ? undefined : placeOf(await scope.batch(after))
  const part = { after: start, limit: limit + 1, reversed }
  const states = await batches.ask(() => batches.jobs.list(owner, part))
  const data = states.slice(0, limit).map((state) => toBatchObject(state, batches))
  return json(toList(data, states.length > limit))
}

const placeOf = ({ createdAt, id }: { createdAt: number; id: string }): ListPlace => ({
  at: createdAt,
  id,
})

/** Strings that sort after and before all ids. */
const LAST_ID = '\u{10ffff}'
const FIRST_ID = ''

/** `GET /v1/files` */
export async function listFiles(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  const query = readQuery(call.incoming, { fallback: 10_000, most: 10_000 })
  const { limit, reversed, purpose } = query
  const list = new FileList(scope, query)
  const { uploads, results } = await list.places()
  const part = { limit: limit + 1, reversed }
  const files = [
    ...(purpose === 'batch_output' ? [] : await list.uploads({ ...part, after: uploads })),
    ...(purpose === 'batch' ? [] : await list.results({ ...part, after: results })),
  ]
  files.sort((a, b) => (reversed ? a.at - b.at || b.rank - a.rank : b.at - a.at || a.rank - b.rank))
  const data = files.slice(0, limit).map(({ object }) => object)
  return json(toList(data, files.length > limit))
}

/**
 * A file with its sort key. At equal times uploads come before answers, and answers before errors.
 */
interface Entry {
  readonly at: number
  readonly rank: number
  readonly object: { readonly id: string }
}

const RANKS: Readonly<Record<ResultsKind, number>> = { completed: 1, failed: 2 }

/**
 * A list of uploads and results files. A results file is listed at the time when its batch was
 * created. Sorting keeps the order within uploads and within results.
 */
class FileList {
  readonly #scope: BatchScope
  readonly #query: ListQuery
  /** The batch, if the page begins between its two results files. */
  #within: { readonly state: JobsState; readonly kind: ResultsKind } | undefined

  constructor(scope: BatchScope, query: ListQuery) {
    this.#scope = scope
    this.#query = query
  }

  /** The positions in uploads and in batches after the file named by `after`. */
  async places(): Promise<Record<'uploads' | 'results', ListPlace | undefined>> {
    const { after } = this.#query
    if (after === undefined) return { uploads: undefined, results: undefined }
    const named = readResultsFileId(after)
    if (named === undefined) {
      const place = placeOf(await this.#scope.file(after))
      return { uploads: place, results: { at: place.at, id: LAST_ID } }
    }
    const state = await this.#scope.batch(named.batch)
    this.#within = { state, kind: named.kind }
    const place = placeOf(state)
    return { uploads: { at: place.at, id: FIRST_ID }, results: place }
  }

  async uploads(part: ListPart): Promise<Entry[]> {
    const { batches, owner } = this.#scope
    const files = await batches.ask(() => batches.jobs.files.list(owner, part))
    return files.map((file) => ({ at: file.createdAt, rank: 0, object: toUploadObject(file) }))
  }

  async results(part: ListPart): Promise<Entry[]> {
    const { batches, owner } = this.#scope
    const entries = this.#within === undefined ? [] : this.#othersWithin(this.#within)
    // Many batches may have no results yet.
    for (let { after } = part; entries.length < part.limit; ) {
      const states = await batches.ask(() => batches.jobs.list(owner, { ...part, after }))
      for (const state of states) entries.push(...this.#entriesOf(state))
      const last = states.at(-1)
      if (last === undefined || states.length < part.limit) break
      after = placeOf(last)
    }
    return entries
  }

  #othersWithin({ state, kind }: { state: JobsState; kind: ResultsKind }): Entry[] {
    const { reversed } = this.#query
    return this.#entriesOf(state).filter(({ rank }) =>
      reversed ? rank < RANKS[kind] : rank > RANKS[kind],
    )
  }

  #entriesOf(state: JobsState): Entry[] {
    const { keepMs } = this.#scope.batches
    const kinds: ResultsKind[] = ['completed', 'failed']
    if (this.#query.reversed) kinds.reverse()
    return kinds.flatMap((kind) => {
      const file: FileFacts | undefined = resultsFile(state, kind, keepMs)
      if (file === undefined) return []
      const object = toResultsObject(state, kind, file)
      return [{ at: state.createdAt, rank: RANKS[kind], object }]
    })
  }
}
