import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI, { toFile } from 'openai'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Batches, createBatches } from '../../../../src/batches/index.js'
import { createGateway, type GatewayOptions, toNode } from '../../../../src/gateway/index.js'
import { type Blossom, createBlossom, standard } from '../../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'
import { failure } from '../../../support/watch.js'

const ADMIN = 'the-token-of-the-operator'
const TENANTS: Readonly<Record<string, string>> = { 'key-of-alice': 'alice', 'key-of-bob': 'bob' }

let upstream: LocalBlossom
let blossom: Blossom<readonly unknown[]>
let batches: Batches
let server: Server

async function serve(options: GatewayOptions<{ req: unknown }> = {}): Promise<void> {
  batches = createBatches(blossom, { concurrency: 10 })
  const gateway = createGateway(blossom, {
    batches,
    adminToken: ADMIN,
    call: (request) => {
      const key = request.headers.get('authorization')?.replace('Bearer ', '') ?? ''
      return TENANTS[key] === undefined ? undefined : { tenant: TENANTS[key] }
    },
    ...options,
  } as GatewayOptions)
  server = createServer(toNode(gateway)).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
}

const url = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const as = (apiKey: string) => new OpenAI({ baseURL: `${url()}/v1`, apiKey, maxRetries: 0 })

beforeEach(async () => {
  upstream = await startLocalBlossom()
  blossom = createBlossom({ baseURL: upstream.url, apiKey: 'sk_server' }).use(...standard())
})
afterEach(async () => {
  server.closeAllConnections()
  server.close()
  await batches.close({ timeoutMs: 0 })
  await blossom.close({ timeoutMs: 0 })
  await upstream.close()
})

const line = (customId: string, body: object = {}, more: object = {}) =>
  JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model: 'openai', messages: [{ role: 'user', content: `Say ${customId}` }], ...body },
    ...more,
  })
const jsonl = (...lines: string[]) => toFile(Buffer.from(`${lines.join('\n')}\n`), 'batch.jsonl')
const upload = async (openai: OpenAI, ...lines: string[]) =>
  openai.files.create({ file: await jsonl(...lines), purpose: 'batch' })
const begin = (openai: OpenAI, fileId: string, more: object = {}) =>
  openai.batches.create({
    input_file_id: fileId,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    ...more,
  })
const ended = async (openai: OpenAI, id: string) => {
  await expect
    .poll(async () => (await openai.batches.retrieve(id)).status, { timeout: 20_000 })
    .toMatch(/^(completed|failed|cancelled|expired)$/)
  return openai.batches.retrieve(id)
}
const linesOf = async (openai: OpenAI, fileId: string | null | undefined) => {
  const text = await (await openai.files.content(fileId!)).text()
  return {
    text,
    lines: text
      .trimEnd()
      .split('\n')
      .map((one) => JSON.parse(one)),
  }
}

describe("the official client's files and batches", () => {
  it('upload, run and give back a batch, with the answers and the errors in files', async () => {
    await serve()
    const openai = as('key-of-alice')
    upstream.fault({
      status: 400,
      times: 1_000,
      match: ({ rawBody }) => rawBody.includes('Say bad'),
    })
    const file = await upload(openai, line('ä 1'), line('bad'), line('3'))
    expect(file).toMatchObject({ object: 'file', purpose: 'batch', filename: 'batch.jsonl' })
    expect(file.bytes).toBe(Buffer.byteLength(`${line('ä 1')}\n${line('bad')}\n${line('3')}\n`))
    const batch = await begin(openai, file.id, { metadata: { job: 'nightly' } })
    expect(batch).toMatchObject({
      object: 'batch',
      endpoint: '/v1/chat/completions',
      input_file_id: file.id,
      completion_window: '24h',
      status: 'in_progress',
      errors: null,
      output_file_id: null,
      error_file_id: null,
      completed_at: null,
      request_counts: { total: 3, completed: 0, failed: 0 },
      metadata: { job: 'nightly' },
    })
    expect(batch.expires_at! - batch.created_at).toBe(24 * 3_600)
    batches.worker()
    const done = await ended(openai, batch.id)
    expect(done).toMatchObject({
      status: 'completed',
      request_counts: { total: 3, completed: 2, failed: 1 },
    })
    expect(done.completed_at).toBeGreaterThanOrEqual(done.created_at)
    expect(done.finalizing_at).toBe(done.completed_at)
    const output = await linesOf(openai, done.output_file_id)
    expect(output.lines.map(({ custom_id }) => custom_id).sort()).toEqual(['3', 'ä 1'])
    for (const one of output.lines) {
      expect(one).toMatchObject({
        id: expect.stringMatching(/^batch_req_[0-9a-f]{32}$/),
        error: null,
        response: { status_code: 200, request_id: expect.any(String) },
      })
      expect(one.response.body.choices[0].message.content).toContain(`Say ${one.custom_id}`)
    }
    const errors = await linesOf(openai, done.error_file_id)
    expect(errors.lines).toMatchObject([
      {
        custom_id: 'bad',
        error: null,
        response: { status_code: 400, body: { error: { type: 'invalid_request_error' } } },
      },
    ])
    // The files say how large they are.
    for (const [id, { text }] of [
      [done.output_file_id, output],
      [done.error_file_id, errors],
    ] as const)
      expect(await openai.files.retrieve(id!)).toMatchObject({
        id,
        purpose: 'batch_output',
        bytes: Buffer.byteLength(text),
      })
    const content = await (await openai.files.content(file.id)).text()
    expect(content).toBe(`${line('ä 1')}\n${line('bad')}\n${line('3')}\n`)
  })

  it('use the server’s key, whoever asks, and the tenant’s name', async () => {
    await serve({ forwardKeys: true })
    const openai = as('key-of-alice')
    const batch = await begin(openai, (await upload(openai, line('1'))).id)
    batches.worker()
    await ended(openai, batch.id)
    expect(upstream.requests.at(-1)!.keySha256).toBe(
      createHash('sha256').update('sk_server').digest('hex'),
    )
  })

  it('cannot touch another tenant’s files, or files without a tenant unless the admin token is sent', async () => {
    await serve()
    const [alice, bob, operator] = [as('key-of-alice'), as('key-of-bob'), as(ADMIN)]
    const file = await upload(alice, line('1'))
    const batch = await begin(alice, file.id)
    batches.worker()
    const { output_file_id: output } = await ended(alice, batch.id)
    for (const other of [bob, operator]) {
      for (const forbidden of [
        () => other.files.retrieve(file.id),
        () => other.files.content(file.id),
        () => other.files.delete(file.id),
        () => other.files.content(output!),
        () => other.files.delete(output!),
        () => begin(other, file.id),
        () => other.batches.retrieve(batch.id),
        () => other.batches.cancel(batch.id),
        () => other.files.list({ after: file.id }),
        () => other.batches.list({ after: batch.id }),
      ])
        expect(await failure(forbidden())).toMatchObject({ status: 404 })
      expect((await other.files.list()).data).toEqual([])
      expect((await other.batches.list()).data).toEqual([])
    }
    expect((await operator.files.list()).data).toEqual([])
    const operators = await upload(operator, line('1'))
    expect((await operator.files.list()).data).toMatchObject([{ id: operators.id }])
    expect(await failure(upload(as('some-other-key'), line('1')))).toMatchObject({ status: 403 })
    const bare = await fetch(`${url()}/v1/batches`)
    expect([bare.status, bare.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect(await bare.json()).toMatchObject({ error: { type: 'authentication_error' } })
  })

  it('report wrong lines as a failed batch', async () => {
    await serve({ models: ['openai'] })
    const openai = as('key-of-alice')
    const file = await upload(
      openai,
      line('1'),
      line('1'),
      line('2', {}, { url: '/v1/embeddings' }),
      line('3', {}, { method: 'GET' }),
      line('4', { stream: true }),
      line('5', { messages: [] }),
      line('6', { model: 'mistral' }),
      line('7', {}, { body: [] }),
      line('', {}),
      JSON.stringify({ body: {} }),
    )
    const batch = await begin(openai, file.id)
    expect(batch).toMatchObject({
      status: 'failed',
      request_counts: { total: 0, completed: 0, failed: 0 },
      output_file_id: null,
      error_file_id: null,
    })
    expect(batch.failed_at).toBeGreaterThan(0)
    const told = batch.errors!.data!.map(({ code, line, param }) => [line, code, param])
    expect(told.slice(0, 9)).toEqual([
      [2, 'duplicate_custom_id', 'custom_id'],
      [3, 'invalid_url', 'url'],
      [4, 'invalid_method', 'method'],
      [5, 'invalid_request', 'body.stream'],
      [6, 'invalid_request', 'body.messages'],
      [7, 'model_not_found', 'body.model'],
      [8, 'invalid_body', 'body'],
      [9, 'invalid_custom_id', 'custom_id'],
      [10, 'invalid_custom_id', 'custom_id'],
    ])
    expect(await openai.batches.retrieve(batch.id)).toEqual(batch)
    const empty = await openai.files.create({
      file: await toFile(Buffer.from(' \n\n'), 'x'),
      purpose: 'batch',
    })
    expect((await begin(openai, empty.id)).errors?.data).toMatchObject([{ code: 'empty_file' }])
    const wrong = await begin(openai, file.id, { endpoint: '/v1/embeddings' })
    expect(wrong.errors?.data?.[0]).toMatchObject({ code: 'invalid_url', line: 1 })
  })

  it('refuse an invalid batch', async () => {
    await serve()
    const openai = as('key-of-alice')
    const { id } = await upload(openai, line('1'))
    for (const [more, status] of [
      [{ endpoint: '/v1/audio/speech' }, 400],
      [{ completion_window: '1h' }, 400],
      [{ input_file_id: 'file-unknown' }, 404],
      [{ input_file_id: '' }, 400],
      [{ metadata: { a: 5 } }, 400],
      [{ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [i, 'x'])) }, 400],
    ] as const)
      expect(await failure(begin(openai, id, more))).toMatchObject({ status })
    expect(await failure(openai.batches.retrieve('batch_unknown'))).toMatchObject({
      status: 404,
      code: 'not_found',
    })
  })

  it('cancel a batch and get the results finished so far', async () => {
    await serve()
    const openai = as('key-of-alice')
    const lines = Array.from({ length: 600 }, (_, i) => line(String(i)))
    const batch = await begin(openai, (await upload(openai, ...lines)).id)
    const cancelled = await openai.batches.cancel(batch.id)
    expect(cancelled.status).toMatch(/^cancell(ing|ed)$/)
    const done = await ended(openai, batch.id)
    expect(done).toMatchObject({
      status: 'cancelled',
      request_counts: { total: 600, completed: 0, failed: 0 },
      output_file_id: null,
    })
    expect(done.cancelled_at).toBeGreaterThanOrEqual(done.cancelling_at!)
    const { lines: errors } = await linesOf(openai, done.error_file_id)
    expect(errors).toHaveLength(600)
    expect(errors[0]).toMatchObject({ response: null, error: { code: 'batch_cancelled' } })
  })

  it('page through lists, and delete files', async () => {
    await serve()
    const openai = as('key-of-alice')
    const files: string[] = []
    const ids: string[] = []
    batches.worker()
    for (let n = 0; n < 5; n++) {
      const { id } = await upload(openai, line(`${n}`), line('wrong', { messages: [{}] }))
      files.push(id)
      const batch = await begin(openai, id)
      ids.push(batch.id)
      await ended(openai, batch.id)
    }
    const listed: string[] = []
    for await (const { id } of openai.batches.list({ limit: 2 })) listed.push(id)
    expect(listed).toEqual([...ids].reverse())
    for (const order of ['desc', 'asc'] as const) {
      const found: string[] = []
      for await (const { id } of openai.files.list({ limit: 3, order })) found.push(id)
      const whole = (await openai.files.list({ order })).data.map(({ id }) => id)
      expect(found).toEqual(whole)
      expect(whole.filter((id) => files.includes(id))).toEqual(
        order === 'asc' ? files : [...files].reverse(),
      )
      expect(new Set(whole).size).toBe(whole.length)
      expect(whole.length).toBeGreaterThanOrEqual(10)
    }
    const outputs = (await openai.files.list({ purpose: 'batch_output' })).data
    expect(outputs.every(({ purpose }) => purpose === 'batch_output')).toBe(true)
    const uploads = (await openai.files.list({ purpose: 'batch' })).data.map(({ id }) => id)
    expect(uploads).toEqual([...files].reverse())
    for (const id of [files[0]!, outputs[0]!.id]) {
      expect(await openai.files.delete(id)).toEqual({ id, object: 'file', deleted: true })
      expect(await failure(openai.files.retrieve(id))).toMatchObject({ status: 404 })
      expect(await failure(openai.files.delete(id))).toMatchObject({ status: 404 })
    }
    for (const query of ['limit=0', 'limit=101', 'limit=x', 'order=up', 'after=batch_x'])
      expect([
        query,
        (
          await fetch(`${url()}/v1/batches?${query}`, {
            headers: { authorization: 'Bearer key-of-alice' },
          })
        ).status,
      ]).toEqual([query, query.startsWith('after') ? 404 : 400])
  })
})
