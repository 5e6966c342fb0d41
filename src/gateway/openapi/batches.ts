import type { RouteName } from '../routes/names.js'
import { asJson, type Operation } from './operation.js'
import type { FailureStatus } from './responses.js'

type BatchRoute = Extract<RouteName, `v1-files-${string}` | `v1-batches-${string}`>

const NEEDS_TENANT: readonly FailureStatus[] = [401, 403, 500, 503]

const batches = (
  summary: string,
  { failures = [], ...extra }: Partial<Operation> & Pick<Operation, 'success'>,
): Operation => ({
  summary,
  tag: 'Batches',
  needsTenant: true,
  failures: [...failures, ...NEEDS_TENANT],
  meanings: {
    401: 'The caller has no tenant, and the admin token is missing.',
    403: 'The caller has no tenant, and the token is wrong or the server has no admin token.',
    404: 'There is no such file or batch, or it belongs to another tenant.',
    503: 'The storage of batches is unavailable, or the server is shutting down.',
  },
  ...extra,
})

const AFTER = {
  name: 'after',
  schema: { type: 'string', description: 'The last id of the previous page.' },
}
const ORDER = { name: 'order', schema: { type: 'string', enum: ['desc', 'asc'], default: 'desc' } }
const limit = (fallback: number, most: number) => ({
  name: 'limit',
  schema: { type: 'integer', minimum: 1, maximum: most, default: fallback },
})

/** The routes of files and batches. */
export const BATCH_OPERATIONS: Readonly<Record<BatchRoute, Operation>> = {
  'v1-files-upload': batches('Upload the lines of a batch', {
    description:
      'A JSONL file with one request per line: `{"custom_id": "…", "method": "POST", "url": "/v1/chat/completions", "body": {…}}`. At most 50,000 lines.',
    request: { schema: 'FileUpload', type: 'multipart/form-data' },
    success: asJson('File'),
    failures: [400, 413, 415],
  }),
  'v1-files-list': batches('List files', {
    query: [
      AFTER,
      limit(10_000, 10_000),
      ORDER,
      { name: 'purpose', schema: { type: 'string', enum: ['batch', 'batch_output'] } },
    ],
    success: asJson('FileList'),
    failures: [400, 404],
  }),
  'v1-files-get': batches('Get a file', { success: asJson('File'), failures: [404] }),
  'v1-files-content': batches("Get a file's content", {
    success: { 'application/jsonl': { schema: { type: 'string' } } },
    failures: [404],
  }),
  'v1-files-delete': batches('Delete a file', {
    description: 'Batches that use the file continue.',
    success: asJson('FileDeleted'),
    failures: [404],
  }),
  'v1-batches-create': batches('Create a batch', {
    description:
      'If any line is invalid, the status of the batch becomes `failed`, and `errors` lists the lines and the reasons. All other calls have priority over lines of batches.',
    request: {
      schema: 'BatchCreateRequest',
      example: {
        input_file_id: 'file-4f6…',
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
      },
    },
    success: asJson('Batch'),
    failures: [400, 404, 413, 415],
  }),
  'v1-batches-list': batches('List batches, newest first', {
    query: [AFTER, limit(20, 100), ORDER],
    success: asJson('BatchList'),
    failures: [400, 404],
  }),
  'v1-batches-get': batches('Get a batch', { success: asJson('Batch'), failures: [404] }),
  'v1-batches-cancel': batches('Cancel a batch', {
    description: 'Running lines may finish; no further lines are started.',
    success: asJson('Batch'),
    failures: [404],
  }),
}
