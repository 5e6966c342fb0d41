import { randomUUID } from 'node:crypto'
import type { KeptResult } from '../../../batches/internals.js'
import { type JobsState, ValidationError } from '../../../core/index.js'
import type { Reply } from '../../server/message.js'
import { PartsBody } from '../../server/parts-body.js'
import { json } from '../../server/reply.js'
import type { RouteCall, RouteTools } from '../route.js'
import { checkedLines, MAX_LINES } from './json-lines.js'
import { BatchScope, notFound } from './scope.js'
import {
  type AboutFile,
  type FileFacts,
  type ResultsKind,
  readResultsFileId,
  resultsFile,
  toResultsObject,
  toUploadObject,
} from './shapes.js'
import { receiveFile, type Upload } from './upload.js'

const HOUR_S = 3_600
const MONTH_S = 30 * 24 * HOUR_S

/** `POST /v1/files` */
export async function uploadFile(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const { batches, owner } = BatchScope.of(call, tools)
  const { batchUploadLimit, mediaBodyLimit } = tools.options
  const id = `file-${randomUUID().replaceAll('-', '')}`
  let keepMs = batches.keepMs
  const check = (upload: Upload) => {
    if (upload.fields.get('purpose') !== 'batch')
      throw new ValidationError('The field "purpose" must be "batch".')
    keepMs = keepMsOf(upload) ?? keepMs
  }
  const file = await receiveFile(call.incoming, batchUploadLimit, check, (bytes, upload) => {
    const lines = checkedLines(bytes, { lines: MAX_LINES, bytes: mediaBodyLimit })
    const terms = () => ({
      about: JSON.stringify({ filename: upload().filename || 'batch.jsonl' } satisfies AboutFile),
      keepMs,
    })
    return batches.ask(() => batches.jobs.files.put({ id, owner }, lines, terms))
  })
  return json(toUploadObject(file))
}

/** How long to store the file, from the field `expires_after[seconds]`. */
function keepMsOf({ fields }: Upload): number | undefined {
  const seconds = fields.get('expires_after[seconds]')
  if (seconds === undefined) return undefined
  const value = Number(seconds)
  if (!Number.isInteger(value) || value < HOUR_S || value > MONTH_S)
    throw new ValidationError(
      `The field "expires_after[seconds]" must be an integer from ${HOUR_S} to ${MONTH_S}.`,
    )
  return value * 1_000
}

/** A results file and its batch. */
interface Results {
  readonly state: JobsState
  readonly kind: ResultsKind
  readonly file: FileFacts
}

/** The results file with this id; `undefined` if the id is that of an upload. */
async function findResults(id: string, scope: BatchScope): Promise<Results | undefined> {
  const named = readResultsFileId(id)
  if (named === undefined) return undefined
  const { batch, kind } = named
  const state = await scope.batch(batch)
  const file = resultsFile(state, kind, scope.batches.keepMs)
  // base64url can encode the same batch id in two ways; accept only the canonical one.
  if (file === undefined || file.id !== id) throw notFound('file')
  return { state, kind, file }
}

/** `GET /v1/files/{id}` */
export async function getFile(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  const results = await findResults(call.id, scope)
  if (results === undefined) return json(toUploadObject(await scope.file(call.id)))
  return json(toResultsObject(results.state, results.kind, results.file))
}

/** `GET /v1/files/{id}/content` */
export async function fileContent(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  const results = await findResults(call.id, scope)
  const { bytes } = results?.file ?? (await scope.file(call.id))
  const content =
    results === undefined
      ? scope.batches.jobs.files.read(call.id)
      : outputLines(results, scope.batches)
  return {
    status: 200,
    headers: { 'content-type': 'application/jsonl', 'content-length': String(bytes) },
    parts: new PartsBody(content, call.delivery),
  }
}

async function* outputLines(
  { state, kind }: Results,
  { jobs, toOutputLine }: BatchScope['batches'],
): AsyncGenerator<string, undefined, undefined> {
  for (let from = 0; ; ) {
    const texts = await jobs.results(state.id, kind, from)
    if (texts.length === 0) return undefined
    from += texts.length
    yield texts
      .map((text) => `${toOutputLine(state.id, JSON.parse(text) as KeptResult)}\n`)
      .join('')
  }
}

/** `DELETE /v1/files/{id}` */
export async function deleteFile(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  const { batches } = scope
  const results = await findResults(call.id, scope)
  if (results === undefined) {
    const { id } = await scope.file(call.id)
    await batches.ask(() => batches.jobs.files.delete(id))
  } else {
    await batches.ask(() => batches.jobs.drop(results.state.id, results.kind))
  }
  return json({ id: call.id, object: 'file', deleted: true })
}
