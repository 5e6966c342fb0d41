import { gunzipSync } from 'node:zlib'
import { request } from 'undici'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ConfigError } from '../../../../src/core/index.js'
import {
  type Fault,
  type LocalBlossom,
  startLocalBlossom,
} from '../../../../src/testing/local-blossom/index.js'

let blossom: LocalBlossom

beforeEach(async () => {
  blossom = await startLocalBlossom({
    reply: () => 'one two three four five six',
    faultHeader: true,
    coalesce: false,
  })
})

afterEach(async () => {
  vi.useRealTimers()
  await blossom.close()
})

async function get(path: string, headers: Record<string, string> = {}) {
  const { statusCode, headers: got, body } = await request(blossom.url + path, { headers })
  return { status: statusCode, headers: got, text: await body.text() }
}

const whole = (fault: Fault) => ask('/text/x', fault)
const streamed = (fault: Fault) => ask('/text/x?stream=true', fault)

function ask(path: string, fault: Fault) {
  blossom.fault(fault)
  return get(path)
}

/**
 * What arrives before the connection breaks, or before `until` of it has come; then the client
 * leaves.
 */
async function partOf(path: string, fault: Fault, until = (_text: string) => false) {
  blossom.fault(fault)
  const { body, headers } = await request(blossom.url + path)
  let text = ''
  let broken = false
  try {
    for await (const part of body) {
      text += part
      if (until(text)) break
    }
  } catch {
    broken = true
  }
  return { text, broken, headers }
}

const wordsOf = (text: string) =>
  [...text.matchAll(/"content":"([^"]*)"/g)].map((found) => found[1]).join('')
const last = () => blossom.requests.at(-1)

describe('queue of faults', () => {
  it('treats undefined fields as omitted', async () => {
    const nothing = {
      times: undefined,
      match: undefined,
      delayMs: undefined,
      raw: undefined,
      status: undefined,
      body: undefined,
      json: undefined,
      cutAfterChunks: undefined,
      splitBytes: undefined,
      chunkDelayMs: undefined,
    }
    expect((await whole(nothing)).status).toBe(200)
    expect((await streamed({ ...nothing, oneChunk: undefined })).text).toContain('[DONE]')
  })

  it('gives 503, 503 and then an answer', async () => {
    blossom.faults.push({ status: 503 }, { status: 503 })
    expect([
      (await get('/text/x')).status,
      (await get('/text/x')).status,
      (await get('/text/x')).status,
    ]).toEqual([503, 503, 200])
    expect(blossom.requests.map(({ outcome }) => outcome)).toEqual(['fault', 'fault', 'complete'])
    expect(blossom.generations).toBe(1)
  })

  it('counts `times`, and chooses by path and by `match`', async () => {
    blossom.fail(500, 2)
    expect([
      (await get('/text/x')).status,
      (await get('/text/x')).status,
      (await get('/text/x')).status,
    ]).toEqual([500, 500, 200])
    blossom.faults.push(
      { status: 503, path: '/image/', times: Infinity },
      { status: 402, match: ({ query }) => query.seed === '2' },
    )
    expect((await get('/text/x')).status).toBe(200)
    expect((await get('/text/x?seed=2')).status).toBe(402)
    expect((await get('/text/x?seed=2')).status).toBe(200)
    expect([
      (await get('/image/x')).status,
      (await get('/image/x')).status,
      blossom.faults.length,
    ]).toEqual([503, 503, 1])
    blossom.reset()
    expect((await get('/image/x')).status).toBe(200)
  })

  it('leaves a queued fault unchanged', async () => {
    const fault = { status: 503, times: 2 }
    blossom.faults.push(fault)
    await get('/text/x')
    expect(fault.times).toBe(2)
    expect(last()?.fault).toEqual(fault)
  })

  it('accepts faults by header when allowed', async () => {
    expect((await get('/text/x', { 'x-fault': '{"status":418}' })).status).toBe(418)
    expect((await get('/text/x', { 'x-fault': '{"states":418}' })).text).toContain('states')
    await using closed = await startLocalBlossom()
    expect(
      (await request(`${closed.url}/text/x`, { headers: { 'x-fault': '{"status":418}' } }))
        .statusCode,
    ).toBe(200)
  })

  it.each<[string, unknown]>([
    ['sttus', { sttus: 503 }],
    ['status', { status: 99 }],
    ['times', { times: 0 }],
    ['delayMs', { delayMs: -1 }],
    ['cutAfterChunks', { cutAfterChunks: 1.5 }],
    ['json', { json: 'bad' }],
    ['retryAfter', { retryAfter: new Date(Number.NaN) }],
    ['splitBytes', { splitBytes: Infinity }],
  ])('refuses a wrong `%s` where it is queued', (name, fault) => {
    expect(() => blossom.faults.push(fault as Fault)).toThrow(`fault: option "${name}"`)
    expect(() => blossom.fault(fault as Fault)).toThrow(ConfigError)
    expect(blossom.faults).toEqual([])
  })
})

describe('faults instead of an answer', () => {
  it.each<[Fault, number, string, RegExp]>([
    [
      { status: 402 },
      402,
      'application/json',
      /"success":false,"error":\{"code":"PAYMENT_REQUIRED"/,
    ],
    [
      { status: 500, body: 'openai' },
      500,
      'application/json',
      /^\{"error":\{"message":".*","type":"server_error","code":"internal_error"\}\}$/,
    ],
    [
      { status: 429, body: 'plain-error', retryAfterSeconds: 12.5 },
      429,
      'application/json',
      /Rate limit exceeded.*"retryAfterSeconds":12.5/,
    ],
    [{ status: 521 }, 521, 'text/html; charset=utf-8', /^<!DOCTYPE html>/],
    [{ status: 502, body: 'empty' }, 502, 'text/plain; charset=utf-8', /^$/],
    [
      { status: 500, body: 'at Object.<anonymous>' },
      500,
      'text/plain; charset=utf-8',
      /^at Object/,
    ],
    [{ body: '{"__proto__":{"x":1}}' }, 200, 'application/json', /^\{"__proto__"/],
    [{ body: 'html' }, 500, 'text/html; charset=utf-8', /<h1>Error 500/],
    [{ json: 'malformed' }, 200, 'application/json', /^\{"id": chat/],
    [{ json: 'truncated' }, 200, 'application/json', /Half of$/],
    [{ json: 'html' }, 200, 'text/html; charset=utf-8', /^<!DOCTYPE/],
    [{ json: 'empty' }, 200, 'application/json', /^$/],
    [{ json: 'shape' }, 200, 'application/json', /"choices":\{/],
    [{ json: 'html', contentType: 'application/json' }, 200, 'application/json', /^<!DOCTYPE/],
    [{ redirect: 'http://127.0.0.1:1/x', status: 307 }, 307, 'application/json', /./],
  ])('%j', async (fault, status, contentType, text) => {
    const answer = await whole(fault)
    expect([answer.status, answer.headers['content-type']]).toEqual([status, contentType])
    expect(answer.text).toMatch(text)
    if (fault.redirect !== undefined) expect(answer.headers.location).toBe(fault.redirect)
    expect(last()).toMatchObject({ status, outcome: 'fault' })
  })

  it.each<[Fault, object]>([
    [{ retryAfter: 2 }, { 'retry-after': '2' }],
    [{ retryAfter: '1e3' }, { 'retry-after': '1e3' }],
    [{ retryAfter: Infinity }, { 'retry-after': 'Infinity' }],
    [{ retryAfter: new Date(0) }, { 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }],
    [{ retryAfterMs: 150.5 }, { 'retry-after-ms': '150.5' }],
    [{ retryAfterSeconds: 1, headers: { 'x-more': 'yes' } }, { 'x-more': 'yes' }],
  ])('answers 429 with %j', async (fault, headers) => {
    const answer = await whole(fault)
    expect(answer.status).toBe(429)
    expect(answer.headers).toMatchObject(headers)
  })

  it('need no key and no slot', async () => {
    await using strict = await startLocalBlossom({ keys: ['k'], freeAccount: true })
    strict.fail(503)
    expect((await request(`${strict.url}/text/x`)).statusCode).toBe(503)
    expect((await request(`${strict.url}/text/x`)).statusCode).toBe(401)
  })

  it('waits `delayMs` first', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const answers = [whole({ delayMs: 700, status: 503 }), whole({ delayMs: 700 })]
    await blossom.waitFor(() => vi.getTimerCount() === 2)
    await vi.advanceTimersByTimeAsync(699)
    expect(blossom.active).toBe(2)
    await vi.advanceTimersByTimeAsync(1)
    expect((await Promise.all(answers)).map(({ status }) => status).sort()).toEqual([200, 503])
  })

  it('hangs until the client leaves', async () => {
    blossom.faults.push({ hang: true })
    const leave = new AbortController()
    const hung = request(`${blossom.url}/text/x`, { signal: leave.signal })
    await blossom.waitFor(({ requests }) => requests[0]?.fault !== undefined)
    leave.abort()
    await expect(hung).rejects.toThrow()
    await blossom.waitFor(({ active }) => active === 0)
    expect(last()).toMatchObject({ outcome: 'aborted', status: undefined, bytesSent: 0 })
  })

  it('resets or ends the connection before the head, and sends raw bytes', async () => {
    await expect(whole({ resetBeforeHeaders: true })).rejects.toMatchObject({ code: 'ECONNRESET' })
    await expect(whole({ resetBeforeHeaders: true, cutWith: 'fin' })).rejects.toMatchObject({
      code: 'UND_ERR_SOCKET',
    })
    await expect(whole({ raw: 'SSH-2.0-OpenSSH_9.6\r\n' })).rejects.toThrow()
    expect(await whole({ raw: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' })).toMatchObject({
      status: 200,
      text: 'ok',
    })
    expect(blossom.requests.map(({ outcome }) => outcome)).toEqual([
      'fault',
      'fault',
      'fault',
      'fault',
    ])
  })
})

describe('faults in a stream', () => {
  it('cuts after the exact number of chunks', async () => {
    const cuts = [
      [-1, '', 0],
      [0, '', 1],
      [2, 'one two', 3],
      [99, 'one two three four five six', 7],
    ] as const
    for (const [cutAfterChunks, words, chunksSent] of cuts) {
      const { text, broken } = await partOf('/text/x?stream=true', { cutAfterChunks })
      expect([wordsOf(text), broken]).toEqual([words, true])
      expect(text).not.toContain('"finish_reason":"stop"')
      expect(last()).toMatchObject({ outcome: 'fault', chunksSent })
    }
    expect(
      (await partOf('/text/x?stream=true', { cutAfterChunks: 1, cutWith: 'rst' })).broken,
    ).toBe(true)
  })

  it('ends early in due form, or without [DONE]', async () => {
    const early = await streamed({ endAfterChunks: 2 })
    expect(wordsOf(early.text)).toBe('one two')
    expect(early.text).not.toMatch(/"finish_reason":"|\[DONE\]/)
    const noDone = await streamed({ noDone: true })
    expect(noDone.text).toContain('"finish_reason":"stop"')
    expect(noDone.text).not.toContain('[DONE]')
  })

  it('puts an error in the stream, even before any content', async () => {
    for (const errorAfterChunks of [0, 2]) {
      const { status, text } = await streamed({ errorAfterChunks })
      expect(status).toBe(200)
      expect(text).toMatch(
        /data: \{"error":\{"message":"[^"]+","type":"server_error","code":"BAD_GATEWAY"\}\}\n\n$/,
      )
      expect(last()?.chunksSent).toBe(errorAfterChunks + 2)
    }
  })

  it('stalls, silently or with comments', async () => {
    const silent = await partOf(
      '/text/x?stream=true',
      { stallAfterChunks: 1 },
      (text) => wordsOf(text) === 'one',
    )
    expect(silent).toMatchObject({ broken: false })
    await blossom.waitFor(() => last()?.outcome === 'aborted')
    const beating = await partOf(
      '/text/x?stream=true',
      { stallAfterChunks: 1, heartbeatMs: 1 },
      (text) => text.split(': heartbeat').length > 3,
    )
    expect(wordsOf(beating.text)).toBe('one')
    await blossom.waitFor(({ active }) => active === 0)
    expect(last()).toMatchObject({ outcome: 'aborted', chunksSent: 2 })
  })

  it('sends garbage and goes on', async () => {
    const { text } = await streamed({ garbageAfterChunks: 1 })
    const events = text.split('\n\n').filter((event) => event !== '' && event !== 'data: [DONE]')
    const broken = events.filter((event) => {
      try {
        return JSON.parse(event.slice(6)) === null
      } catch {
        return true
      }
    })
    expect(broken).toHaveLength(1)
    expect(text).toContain('[DONE]')
    expect((await streamed({ garbageAfterChunks: 1, garbage: 'utf8' })).text).toContain(
      '"content":"\ufffd\ufffd"',
    )
  })

  it('stays open after [DONE], with ghosts', async () => {
    const { text, broken } = await partOf(
      '/text/x?stream=true',
      { openAfterDone: true, ghostChunks: 2 },
      (got) => got.split('GHOST').length === 3,
    )
    expect(broken).toBe(false)
    expect(text.indexOf('GHOST')).toBeGreaterThan(text.indexOf('[DONE]'))
    await blossom.waitFor(({ active }) => active === 0)
    expect((await streamed({ ghostChunks: 1 })).text).toMatch(/\[DONE\]\n\ndata: .*GHOST/)
  })

  it('sends one chunk, tiny writes, or another content type', async () => {
    expect((await streamed({ oneChunk: true })).text.match(/"content"/g)).toHaveLength(1)
    const plain = await get('/text/x?stream=true')
    blossom.fault({ splitBytes: 7 })
    const { body } = await request(`${blossom.url}/text/x?stream=true`)
    const parts: Buffer[] = []
    for await (const part of body) parts.push(part)
    expect(parts.length).toBeGreaterThan(50)
    const number = /chatcmpl-local-\d+/g
    expect(Buffer.concat(parts).toString().replace(number, '')).toBe(plain.text.replace(number, ''))
    expect(
      (await streamed({ contentType: 'application/octet-stream' })).headers['content-type'],
    ).toBe('application/octet-stream')
    expect((await streamed({ contentType: '' })).headers['content-type']).toBeUndefined()
  })

  it('floods, and sends one long line', async () => {
    const flood = await streamed({ bigBody: 1_000_000 })
    expect(flood.text.length).toBeGreaterThan(1_000_000)
    expect(flood.text).toContain('[DONE]')
    const line = await streamed({ bigLine: 1_000_000 })
    expect(Math.max(...line.text.split('\n').map((one) => one.length))).toBeGreaterThan(1_000_000)
    expect(
      JSON.parse(line.text.split('\n\n')[1]?.slice(6) ?? '').choices[0].delta.content,
    ).toHaveLength(1_000_000)
    const endless = await partOf(
      '/text/x?stream=true',
      { bigLine: Infinity },
      (text) => text.length > 3_000_000,
    )
    expect(endless.broken).toBe(false)
    await blossom.waitFor(({ active }) => active === 0)
  })
})

describe('faults in another body', () => {
  const path = '/text/x?json=false'

  it('cuts, stalls and ends before the last piece', async () => {
    const cut = await partOf(path, { cutAfterChunks: 99, splitBytes: 10 })
    expect(cut).toMatchObject({ text: 'one two three four f', broken: true })
    expect(cut.headers['content-length']).toBe('27')
    expect(await partOf(path, { cutAfterChunks: 0 })).toMatchObject({ text: '', broken: true })
    const end = await partOf(path, { endAfterChunks: 1, splitBytes: 10 })
    expect(end).toMatchObject({ text: 'one two th', broken: false })
    const stall = await partOf(
      path,
      { stallAfterChunks: 1, splitBytes: 10 },
      (text) => text.length === 10,
    )
    expect(stall.broken).toBe(false)
    await blossom.waitFor(({ active }) => active === 0)
    expect(last()?.outcome).toBe('aborted')
  })

  it('becomes an error object with status 200, holds garbage, or trickles', async () => {
    const error = await whole({ errorAfterChunks: 0 })
    expect([error.status, JSON.parse(error.text).error.code]).toEqual([200, 'BAD_GATEWAY'])
    expect((await whole({ garbageAfterChunks: 0 })).text).not.toMatch(/^one/)
    expect((await whole({ splitBytes: 1, chunkDelayMs: 1 })).text).toBe(
      'one two three four five six',
    )
    expect(last()).toMatchObject({ chunksSent: 27, bytesSent: 27 })
  })

  it('grows, also as an error', async () => {
    const big = await whole({ bigBody: 300_000 })
    expect([big.text.length, big.text.trim()]).toEqual([300_000, 'one two three four five six'])
    const error = await whole({ status: 500, bigBody: 300_000 })
    expect([error.status, error.text.length, JSON.parse(error.text).status]).toEqual([
      500, 300_000, 500,
    ])
  })

  it('sends gzip that is fake, truncated or a bomb', async () => {
    const bytes = async (fault: Fault) => {
      blossom.fault(fault)
      const { headers, body } = await request(blossom.url + path)
      expect(headers['content-encoding']).toBe('gzip')
      return Buffer.from(await body.arrayBuffer())
    }
    expect((await bytes({ gzip: true })).toString()).toBe('one two three four five six')
    const half = await bytes({ gzip: 'truncated' })
    expect(() => gunzipSync(half)).toThrow('unexpected end')
    const bomb = await bytes({ gzip: 'bomb', bigBody: 5_000_000 })
    expect([bomb.length < 50_000, gunzipSync(bomb).length]).toEqual([true, 5_000_000])
    expect((await streamed({ gzip: true })).headers['content-encoding']).toBe('gzip')
  })
})
