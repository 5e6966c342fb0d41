import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Batches, createBatches } from '../../../../src/batches/index.js'
import { createGateway, type Gateway, type GatewayOptions } from '../../../../src/gateway/index.js'
import { ROUTE_NAMES } from '../../../../src/gateway/routes/names.js'
import { ConfigError, createBlossom } from '../../../../src/index.js'
import { type Contract, contractOf, send } from '../../../support/openapi.js'

const ADMIN = 'the-token-of-the-operator'
const OPERATOR = { authorization: `Bearer ${ADMIN}` }
const blossom = createBlossom({ baseURL: 'http://127.0.0.1:9' })
const NAMES = ROUTE_NAMES.filter((name) => /^v1-(files|batches)-/.test(name))

let batches: Batches
let gateway: Gateway
let contract: Contract

beforeAll(async () => {
  batches = createBatches(blossom)
  gateway = createGateway(blossom, { batches, adminToken: ADMIN })
  contract = await contractOf(gateway)
})
afterAll(() => batches.close())

/** Asks at a path of the document, with the id in its place. */
async function judged(
  method: string,
  path: string,
  {
    id = '',
    status = 200,
    ...more
  }: { id?: string; status?: number; body?: unknown; headers?: object },
): Promise<Response> {
  const target = path.replace('{id}', encodeURIComponent(id))
  const response = await send(gateway, method, target, more.body, {
    ...OPERATOR,
    ...more.headers,
  })
  expect([method, path, response.status]).toEqual([method, path, status])
  expect(await contract.faultsOf(method, path, response.clone() as Response)).toEqual([])
  return response
}

async function upload(text: string): Promise<Response> {
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new File([text], 'a.jsonl'))
  const response = await gateway(
    new Request('http://localhost/v1/files', { method: 'POST', headers: OPERATOR, body: form }),
  )
  expect(await contract.faultsOf('POST', '/v1/files', response.clone() as Response)).toEqual([])
  return response
}

const LINE = JSON.stringify({
  custom_id: 'a',
  method: 'POST',
  url: '/v1/embeddings',
  body: { input: 'x' },
})

describe('the document of a gateway with batches', () => {
  it('is valid and includes their routes', async () => {
    expect(await new Validator().validate({ ...contract.document })).toEqual({ valid: true })
    const found = contract.operations.filter(({ path }) => /^\/v1\/(files|batches)/.test(path))
    expect(found.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([
      'DELETE /v1/files/{id}',
      'GET /v1/batches',
      'GET /v1/batches/{id}',
      'GET /v1/files',
      'GET /v1/files/{id}',
      'GET /v1/files/{id}/content',
      'POST /v1/batches',
      'POST /v1/batches/{id}/cancel',
      'POST /v1/files',
    ])
    for (const { described } of found) expect(described.security).toEqual([{ adminToken: [] }, {}])
  })

  it('matches every answer', async () => {
    const { id } = (await (await upload(LINE)).json()) as { id: string }
    await judged('GET', '/v1/files', {})
    await judged('GET', '/v1/files/{id}', { id })
    expect(await (await judged('GET', '/v1/files/{id}/content', { id })).text()).toBe(LINE)
    const body = { input_file_id: id, endpoint: '/v1/embeddings', completion_window: '24h' }
    expect(contract.requestOf('POST', '/v1/batches')(body)).toBe(true)
    const metadata = { a: 'b' }
    const batch = (await (
      await judged('POST', '/v1/batches', { body: { ...body, metadata } })
    ).json()) as { id: string }
    await judged('GET', '/v1/batches/{id}', { id: batch.id })
    const { error_file_id: errors } = (await (
      await judged('POST', '/v1/batches/{id}/cancel', { id: batch.id })
    ).json()) as { error_file_id: string }
    await judged('GET', '/v1/files/{id}', { id: errors })
    await judged('GET', '/v1/files/{id}/content', { id: errors })
    const wrong = { ...body, endpoint: '/v1/chat/completions' }
    const failed = await (await judged('POST', '/v1/batches', { body: wrong })).json()
    expect(failed).toMatchObject({ status: 'failed', errors: { data: [{ line: 1 }, {}] } })
    await judged('GET', '/v1/batches', {})
    await judged('DELETE', '/v1/files/{id}', { id })
    for (const [method, path] of [
      ['GET', '/v1/files/{id}'],
      ['GET', '/v1/files/{id}/content'],
      ['DELETE', '/v1/files/{id}'],
      ['GET', '/v1/batches/{id}'],
      ['POST', '/v1/batches/{id}/cancel'],
    ] as const) {
      for (const unknown of ['unknown', 'a/b', '%', '..', '🌸', id])
        await judged(method, path, { id: unknown, status: 404 })
      await judged(method, path, { id, status: 401, headers: { authorization: '' } })
      await judged(method, path, { id, status: 403, headers: { authorization: 'Bearer wrong' } })
    }
    await judged('POST', '/v1/batches', { body: { ...body, endpoint: '/v1/x' }, status: 400 })
    await judged('POST', '/v1/batches', { body, status: 404 })
    await judged('GET', '/v1/files', { status: 200 })
    expect((await upload('no json')).status).toBe(400)
  })

  it('covers methods, trailing slashes and HEAD as for all routes', async () => {
    const { id } = (await (await upload(LINE)).json()) as { id: string }
    const asked = (method: string, path: string) => send(gateway, method, path, undefined, OPERATOR)
    const wrong = await asked('PUT', `/v1/files/${id}`)
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, HEAD, DELETE'])
    expect((await asked('GET', `/v1/files/${id}/`)).status).toBe(200)
    const head = await asked('HEAD', `/v1/files/${id}/content`)
    expect([head.status, await head.text()]).toEqual([200, ''])
    expect(head.headers.get('content-length')).toBe(String(Buffer.byteLength(LINE)))
    expect((await asked('GET', `/v1/files/${id}/other`)).status).toBe(404)
  })

  it('leaves their routes out without the option', async () => {
    const bare = createGateway(blossom, { adminToken: ADMIN })
    const { document } = await contractOf(bare)
    expect(Object.keys(document.paths).filter((path) => /batches|files/.test(path))).toEqual([])
    expect(document.components.schemas).not.toHaveProperty('Batch')
    for (const path of ['/v1/files', '/v1/batches', '/v1/batches/x'])
      expect((await send(bare, 'GET', path, undefined, OPERATOR)).status).toBe(404)
  })
})

describe('the option batches', () => {
  it('accepts only what createBatches() made', () => {
    for (const wrong of [{}, null, 'batches', blossom])
      expect(() => createGateway(blossom, { batches: wrong as never })).toThrow(
        'option "batches" must be batches from createBatches()',
      )
  })

  it.each(NAMES)('lets routes name %s only when it is set', (name) => {
    const options: GatewayOptions = { routes: [name] }
    expect(() => createGateway(blossom, options)).toThrow(ConfigError)
    expect(() => createGateway(blossom, { ...options, batches })).not.toThrow()
  })

  it('closes the routes that accept new work while the gateway drains', async () => {
    const draining = createGateway(blossom, { batches, adminToken: ADMIN })
    draining.drain()
    const body = { input_file_id: 'x', endpoint: '/v1/embeddings', completion_window: '24h' }
    expect((await send(draining, 'POST', '/v1/batches', body, OPERATOR)).status).toBe(503)
    expect((await send(draining, 'GET', '/v1/batches', undefined, OPERATOR)).status).toBe(200)
  })

  it('warns when nobody can be a tenant or the operator', async () => {
    const nobody = createGateway(blossom, { batches })
    const response = await send(nobody, 'GET', '/v1/batches', undefined, OPERATOR)
    expect(response.status).toBe(403)
  })
})
