import { type ConfigError, warn } from '../../../core/index.js'
import type { Route, RouteTools } from '../route.js'
import { cancelBatch, createBatch, getBatch } from './batches.js'
import { deleteFile, fileContent, getFile, uploadFile } from './files.js'
import { listBatches, listFiles } from './lists.js'
import { loadParser } from './upload.js'

/** OpenAI's routes for files and batches, if the option `batches` is set. */
export function batchRoutes({ options }: Pick<RouteTools, 'options'>): readonly Route[] {
  if (options.batches === undefined) return []
  // Report a missing package now, not at the first upload.
  loadParser().catch((error: ConfigError) => warn(error.message))
  const route = (
    name: Route['name'],
    method: Route['method'],
    path: string,
    handle: Route['handle'],
    { spends = false } = {},
  ): Route => ({ name, method, path, dialect: 'openai', spends, handle })
  // A draining gateway accepts no new work, even though other processes could run it.
  const accepts = { spends: true }
  return [
    route('v1-files-upload', 'POST', '/v1/files', uploadFile, accepts),
    route('v1-files-list', 'GET', '/v1/files', listFiles),
    route('v1-files-get', 'GET', '/v1/files/{id}', getFile),
    route('v1-files-content', 'GET', '/v1/files/{id}/content', fileContent),
    route('v1-files-delete', 'DELETE', '/v1/files/{id}', deleteFile),
    route('v1-batches-create', 'POST', '/v1/batches', createBatch, accepts),
    route('v1-batches-list', 'GET', '/v1/batches', listBatches),
    route('v1-batches-get', 'GET', '/v1/batches/{id}', getBatch),
    route('v1-batches-cancel', 'POST', '/v1/batches/{id}/cancel', cancelBatch),
  ]
}
