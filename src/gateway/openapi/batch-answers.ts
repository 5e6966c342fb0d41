const object = (
  properties: Readonly<Record<string, object>>,
  optional: readonly string[] = [],
) => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
})
const text = (description?: string) => ({ type: 'string', ...(description && { description }) })
const count = { type: 'integer', minimum: 0 }
const orNull = { type: ['string', 'null'] }
const moment = { type: 'integer', description: 'Seconds since the epoch.' }
const momentOrNull = { type: ['integer', 'null'] }

const list = (name: string) =>
  object({
    object: { const: 'list' },
    data: { type: 'array', items: { $ref: `#/components/schemas/${name}` } },
    first_id: orNull,
    last_id: orNull,
    has_more: { type: 'boolean' },
  })

/** The bodies of requests and answers of `/v1/files` and `/v1/batches`. */
export const BATCH_ANSWERS = {
  FileUpload: object(
    {
      file: { type: 'string', contentMediaType: 'application/jsonl' },
      purpose: { const: 'batch' },
      'expires_after[anchor]': { const: 'created_at' },
      'expires_after[seconds]': { type: 'integer', minimum: 3_600, maximum: 2_592_000 },
    },
    ['expires_after[anchor]', 'expires_after[seconds]'],
  ),
  File: object({
    id: text(),
    object: { const: 'file' },
    bytes: count,
    created_at: moment,
    expires_at: moment,
    filename: text(),
    purpose: { type: 'string', enum: ['batch', 'batch_output'] },
    status: { const: 'processed' },
  }),
  FileList: list('File'),
  FileDeleted: object({ id: text(), object: { const: 'file' }, deleted: { const: true } }),
  Batch: object({
    id: text(),
    object: { const: 'batch' },
    endpoint: text(),
    errors: {
      anyOf: [
        object({
          object: { const: 'list' },
          data: {
            type: 'array',
            items: object({
              code: text(),
              message: text(),
              param: orNull,
              line: { type: ['integer', 'null'] },
            }),
          },
        }),
        { type: 'null' },
      ],
    },
    input_file_id: text(),
    completion_window: { const: '24h' },
    status: {
      type: 'string',
      enum: [
        'validating',
        'in_progress',
        'finalizing',
        'completed',
        'failed',
        'cancelling',
        'cancelled',
        'expired',
      ],
    },
    output_file_id: { ...orNull, description: 'File with the answers, once the batch has ended.' },
    error_file_id: {
      ...orNull,
      description:
        'File with the errors of all lines that have no answer, once the batch has ended.',
    },
    created_at: moment,
    in_progress_at: momentOrNull,
    expires_at: moment,
    finalizing_at: momentOrNull,
    completed_at: momentOrNull,
    failed_at: momentOrNull,
    expired_at: momentOrNull,
    cancelling_at: momentOrNull,
    cancelled_at: momentOrNull,
    request_counts: object({ total: count, completed: count, failed: count }),
    metadata: { type: ['object', 'null'], additionalProperties: { type: 'string' } },
  }),
  BatchList: list('Batch'),
} as const
