import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Batches, createBatches } from '../../../../src/batches/index.js'
import { BATCHES, type BatchesInternals } from '../../../../src/batches/internals.js'
import {
  createGateway,
  type Gateway,
  type GatewayOptions,
  toNode,
} from '../../../../src/gateway/index.js'
import { checkedLines, linesOf } from '../../../../src/gateway/routes/batches/json-lines.js'
import { createBlossom } from '../../../../src/index.js'

const ADMIN = 'the-token-of-the-operator'
const BOUNDARY = 'xxBOUNDARYxx'

let batches: Batches
let gateway: Gateway
let server: Server
beforeEach(() => serve({}))
afterEach(async () => {
  vi.restoreAllMocks()
  server.closeAllConnections()
  server.close()
  await batches.close()
})

async function serve(options: GatewayOptions): Promise<void> {
  const blossom = createBlossom({ baseURL: 'http://127.0.0.1:9' })
  batches = createBatches(blossom)
  gateway = createGateway(blossom, { batches, adminToken: ADMIN, ...options })
  server = createServer(toNode(gateway)).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
}

const files = () => (batches as unknown as { [BATCHES]: BatchesInternals })[BATCHES].jobs.files

interface Part {
  readonly name: string
  readonly value: string
  readonly filename?: string
}
const PURPOSE: Part = { name: 'purpose', value: 'batch' }
const fileOf = (value: string, filename = 'a.jsonl'): Part => ({ name: 'file', value, filename })

function formOf(...parts: Part[]): Buffer {
  const texts = parts.map(
    ({ name, value, filename }) =>
      `--${BOUNDARY}\r\ncontent-disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"\r\ncontent-type: application/octet-stream`}\r\n\r\n${value}\r\n`,
  )
  return Buffer.from(`${texts.join('')}--${BOUNDARY}--\r\n`)
}

const HEADERS = {
  authorization: `Bearer ${ADMIN}`,
  'content-type': `multipart/form-data; boundary=${BOUNDARY}`,
}

interface Answer {
  readonly status: number
  readonly body: {
    readonly id?: string
    readonly error?: { readonly message: string }
    readonly [name: string]: unknown
  }
}

/** Sends a body over a real connection, in pieces of some size. */
function post(body: Uint8Array, headers: object = {}, size = body.length): Promise<Answer> {
  const { port } = server.address() as AddressInfo
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        port,
        host: '127.0.0.1',
        path: '/v1/files',
        method: 'POST',
        headers: { ...HEADERS, ...headers },
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        response.on('end', () => resolve({ status: response.statusCode!, body: JSON.parse(text) }))
      },
    )
    sent.on('error', reject)
    for (let at = 0; at < body.length; at += size) sent.write(body.subarray(at, at + size))
    sent.end()
  })
}

/** The same by a web `Request`. */
async function ask(body: Uint8Array, headers: object = {}): Promise<Answer> {
  const response = await gateway(
    new Request('http://localhost/v1/files', {
      method: 'POST',
      headers: { ...HEADERS, ...headers },
      body: body as never,
    }),
  )
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

async function kept(id: string): Promise<string> {
  let text = ''
  for await (const piece of files().read(id)) text += piece
  return text
}
const nothingIsKept = async () => expect(await files().list('', { limit: 10 })).toEqual([])

const LINES = '{"custom_id":"ä🌸"}\r\n\n{"a":[1,2]}\n{"last":true}'

describe('POST /v1/files', () => {
  it.each([
    ['over a connection', post],
    ['by a web Request', ask],
  ])('keeps a file unchanged, %s, whatever the order of the fields', async (_, send) => {
    for (const form of [formOf(PURPOSE, fileOf(LINES)), formOf(fileOf(LINES), PURPOSE)]) {
      const { status, body } = await send(form)
      expect(status).toBe(200)
      expect(body).toMatchObject({
        object: 'file',
        filename: 'a.jsonl',
        purpose: 'batch',
        bytes: Buffer.byteLength(LINES),
      })
      expect(await kept(body.id!)).toBe(LINES)
    }
  })

  it('keeps a file unchanged however its bytes are split', async () => {
    const form = formOf({ name: 'other', value: 'x'.repeat(50) }, fileOf(LINES), PURPOSE)
    for (const size of [1, 2, 3, 7, 64]) {
      const { status, body } = await post(form, {}, size)
      expect([size, status]).toEqual([size, 200])
      expect(await kept(body.id!)).toBe(LINES)
    }
  })

  it('keeps a file for as long as the form asks', async () => {
    const { body } = await post(
      formOf(
        PURPOSE,
        { name: 'expires_after[anchor]', value: 'created_at' },
        { name: 'expires_after[seconds]', value: '7200' },
        fileOf(LINES),
      ),
    )
    expect((body.expires_at as number) - (body.created_at as number)).toBe(7_200)
  })

  const wrong: [string, Buffer, object, number, RegExp][] = [
    [
      'is not JSONL',
      formOf(PURPOSE, fileOf('{"a":1}\nno json\n')),
      {},
      400,
      /Line 2 is not a JSON/,
    ],
    [
      'has a line that is a list',
      formOf(PURPOSE, fileOf('{"a":1}\n\n[1]')),
      {},
      400,
      /Line 3 is not/,
    ],
    [
      'has another purpose',
      formOf({ ...PURPOSE, value: 'assistants' }, fileOf(LINES)),
      {},
      400,
      /purpose/,
    ],
    ['has no purpose', formOf(fileOf(LINES)), {}, 400, /purpose/],
    ['has no file', formOf(PURPOSE), {}, 400, /has no file/],
    [
      'has its file in another field',
      formOf(PURPOSE, { ...fileOf(LINES), name: 'data' }),
      {},
      400,
      /has no file/,
    ],
    [
      'is not UTF-8',
      Buffer.from(formOf(PURPOSE, fileOf('{"a":"~"}')).map((byte) => (byte === 126 ? 255 : byte))),
      {},
      400,
      /Line 1 is not UTF-8/,
    ],
    [
      'is nested too deep',
      formOf(PURPOSE, fileOf(`{"a":${'['.repeat(2_000)}${']'.repeat(2_000)}}`)),
      {},
      400,
      /nested too deep/,
    ],
    [
      'has 50,001 lines',
      formOf(PURPOSE, fileOf('{}\n'.repeat(50_001))),
      {},
      400,
      /more than 50000 lines/,
    ],
    [
      'breaks off in the file',
      formOf(PURPOSE, fileOf(LINES)).subarray(0, -60),
      {},
      400,
      /not a valid multipart/,
    ],
    [
      'breaks off before the file',
      formOf(PURPOSE, fileOf(LINES)).subarray(0, 70),
      {},
      400,
      /not a valid multipart|no file/,
    ],
    ['is empty', Buffer.alloc(0), {}, 400, /not a valid multipart|no file/],
    ['is no form', Buffer.from('{}'), { 'content-type': 'application/json' }, 415, /multipart/],
    [
      'has no boundary',
      formOf(PURPOSE),
      { 'content-type': 'multipart/form-data' },
      400,
      /not a valid multipart/,
    ],
    ['is compressed', formOf(PURPOSE), { 'content-encoding': 'gzip' }, 415, /compressed/],
    [
      'is kept for too long',
      formOf(PURPOSE, { name: 'expires_after[seconds]', value: '1e9' }, fileOf(LINES)),
      {},
      400,
      /expires_after/,
    ],
  ]
  it.each(wrong)(
    'refuses what %s, and stores none of it',
    async (_, body, headers, status, words) => {
      for (const send of [post, ask]) {
        const answer = await send(body, headers)
        expect(answer.status, JSON.stringify(answer.body)).toBe(status)
        expect(answer.body.error?.message).toMatch(words)
      }
      await nothingIsKept()
    },
  )

  it('refuses an oversized file at once by its length, or else when it passes the limit', async () => {
    await batches.close()
    server.close()
    await serve({ batchUploadLimit: 10_000 })
    const large = formOf(PURPOSE, fileOf(`{"a":"${'x'.repeat(20_000)}"}`))
    expect((await post(large, { 'content-length': large.length })).status).toBe(413)
    expect((await post(large, { 'transfer-encoding': 'chunked' }, 1_000)).status).toBe(413)
    expect((await ask(large)).status).toBe(413)
    await nothingIsKept()
    expect((await post(formOf(PURPOSE, fileOf(LINES)))).status).toBe(200)
  })

  it('refuses a line longer than the body limit', async () => {
    await batches.close()
    server.close()
    await serve({ mediaBodyLimit: 1_000 })
    const answer = await post(formOf(PURPOSE, fileOf(`{}\n{"a":"${'x'.repeat(2_000)}"}`)))
    expect(answer.status).toBe(400)
    expect(answer.body.error?.message).toContain('Line 2 is longer than 1000 bytes')
  })

  it('answers 503 when the file cannot be stored', async () => {
    vi.spyOn(files(), 'put').mockRejectedValue(new Error('redis://secret'))
    const answer = await post(formOf(PURPOSE, fileOf(LINES.repeat(5_000))))
    expect(answer.status).toBe(503)
    expect(JSON.stringify(answer.body)).not.toContain('secret')
  })

  it('never holds a whole file in memory', { timeout: 120_000 }, async () => {
    const put = files().put.bind(files())
    // Whoever keeps it throws it away: what is held is held on the way.
    vi.spyOn(files(), 'put').mockImplementation(async (file, pieces, terms) => {
      for await (const _ of pieces);
      return put(file, (async function* () {})(), terms)
    })
    const line = `${JSON.stringify({ custom_id: 'x', body: { text: 'y'.repeat(4_000) } })}\n`
    const part = Buffer.from(line.repeat(200))
    const head = formOf(PURPOSE, fileOf('')).subarray(0, -`\r\n--${BOUNDARY}--\r\n`.length)
    const { port } = server.address() as AddressInfo
    let most = 0
    const before = process.memoryUsage()
    const used = () => {
      const { heapUsed, external, arrayBuffers } = process.memoryUsage()
      return heapUsed + external + arrayBuffers
    }
    const status = await new Promise((resolve, reject) => {
      const sent = request(
        { port, host: '127.0.0.1', path: '/v1/files', method: 'POST', headers: HEADERS },
        (response) => resolve(response.resume().statusCode),
      )
      sent.on('error', reject)
      const send = async () => {
        sent.write(head)
        for (let size = 0; size < 80 * 1024 * 1024; size += part.length) {
          most = Math.max(most, used())
          if (!sent.write(part)) await new Promise((go) => sent.once('drain', go))
        }
        sent.end(`\r\n--${BOUNDARY}--\r\n`)
      }
      void send()
    })
    expect(status).toBe(200)
    const held = most - (before.heapUsed + before.external + before.arrayBuffers)
    expect(held).toBeLessThan(60 * 1024 * 1024)
  })

  it('copes with a client that leaves halfway', async () => {
    const { port } = server.address() as AddressInfo
    const form = formOf(PURPOSE, fileOf(LINES))
    const sent = request({
      port,
      host: '127.0.0.1',
      path: '/v1/files',
      method: 'POST',
      headers: HEADERS,
    })
    sent.on('error', () => {})
    sent.write(form.subarray(0, 200))
    await new Promise((resolve) => setTimeout(resolve, 50))
    sent.destroy()
    await gateway.close({ timeoutMs: 5_000 })
    await nothingIsKept()
  })

  it('answers whatever is sent', async () => {
    const form = formOf(PURPOSE, { name: 'x', value: 'y' }, fileOf(LINES))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(form.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(form.length),
        async (changes, end) => {
          const body = Buffer.from(form)
          for (const [at, byte] of changes) body[at] = byte
          const { status } = await ask(body.subarray(0, end))
          expect([200, 400]).toContain(status)
        },
      ),
      { numRuns: 300 },
    )
  }, 60_000)
})

describe('checkedLines', () => {
  async function* cut(bytes: Uint8Array, sizes: readonly number[]) {
    let at = 0
    for (let i = 0; at < bytes.length; i++) {
      const size = sizes[i % sizes.length] ?? 1
      yield bytes.subarray(at, at + size)
      at += size
    }
  }

  it('returns the text unchanged, in whole lines, however it is split', async () => {
    const line = fc
      .oneof(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), fc.constant(undefined))
      .map((value) => (value === undefined ? ' ' : JSON.stringify(value)))
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 8 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        async (lines, end, isEnded, sizes) => {
          const text = lines.join(end) + (isEnded ? end : '')
          const pieces: string[] = []
          const limits = { lines: 100, bytes: 1e6 }
          for await (const piece of checkedLines(cut(Buffer.from(text), sizes), limits))
            pieces.push(piece)
          expect(pieces.join('')).toBe(text)
          const found: string[] = []
          async function* again() {
            for (let at = 0; at < text.length; at += sizes[0]!) yield text.slice(at, at + sizes[0]!)
          }
          for await (const { text: one, number } of linesOf(again())) {
            found.push(one.trim())
            expect(lines[number - 1]?.trim()).toBe(one.trim())
          }
          expect(found).toEqual(lines.map((one) => one.trim()).filter((one) => one !== ''))
        },
      ),
    )
  })
})
