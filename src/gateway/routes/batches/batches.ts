import { randomUUID } from 'node:crypto'
import type { BatchEndpoint } from '../../../batches/index.js'
import type { BatchOrder } from '../../../batches/internals.js'
import { BatchCreateRequest, readBody } from '../../schemas.js'
import type { Reply } from '../../server/message.js'
import { json } from '../../server/reply.js'
import type { RouteCall, RouteTools } from '../route.js'
import { BatchInput, WrongInput } from './input.js'
import { BatchScope } from './scope.js'
import { toBatchObject } from './shapes.js'

/** `POST /v1/batches` */
export async function createBatch(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  const { batches, owner } = scope
  const { input_file_id, endpoint, metadata } = readBody(BatchCreateRequest, await call.json())
  const file = await scope.file(input_file_id)
  const input = new BatchInput(endpoint as BatchEndpoint, tools.options.models)
  const more = { inputFileId: file.id, metadata: metadata ?? null }
  const order: BatchOrder = {
    id: `batch_${randomUUID().replaceAll('-', '')}`,
    owner,
    endpoint: endpoint as BatchEndpoint,
    more,
  }
  try {
    await batches.accept(order, input.lines(batches.jobs.files.read(file.id)))
  } catch (error) {
    if (!(error instanceof WrongInput)) throw error
    await batches.reject({ ...order, more: { ...more, errors: error.problems } })
  }
  return json(toBatchObject(await scope.batch(order.id), batches))
}

/** `GET /v1/batches/{id}` */
export async function getBatch(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  return json(toBatchObject(await scope.batch(call.id), scope.batches))
}

/** `POST /v1/batches/{id}/cancel` */
export async function cancelBatch(call: RouteCall, tools: RouteTools): Promise<Reply> {
  const scope = BatchScope.of(call, tools)
  const { batches } = scope
  const { id } = await scope.batch(call.id)
  await batches.ask(() => batches.jobs.close(id, 'cancelled'))
  return json(toBatchObject(await scope.batch(id), batches))
}
