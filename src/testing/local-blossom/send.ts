import { gzipSync } from 'node:zlib'
import { isDate } from '../../core/index.js'
import { errorBody, htmlPage, inBandError, isErrorShape } from './errors.js'
import type { Exchange } from './exchange.js'
import type { Fault } from './faults.js'
import { DONE, type Frames } from './frames.js'
import { BLOCK_BYTES, fill, Sink, spoil } from './spoil.js'

type Headers = Readonly<Record<string, string>>

const NO_FAULT: Fault = {}
/** Size of the pieces of a body that is not a stream, when a fault needs pieces. */
const PIECE_BYTES = 64
const BOMB_BYTES = 64 * 1024 * 1024

const WAITS = ['retryAfter', 'retryAfterMs', 'retryAfterSeconds'] as const
const STAND_INS = ['raw', 'redirect', 'status', 'body', 'json', ...WAITS] as const
const PIECEWISE = [
  'cutAfterChunks',
  'endAfterChunks',
  'stallAfterChunks',
  'garbageAfterChunks',
] as const

const hasAny = (fault: Fault, names: readonly (keyof Fault)[]): boolean =>
  names.some((name) => fault[name] !== undefined)

/** Whether a fault replaces the answer, so that none needs to be generated. @internal */
export function standsIn(fault: Fault): boolean {
  return fault.resetBeforeHeaders === true || fault.hang === true || hasAny(fault, STAND_INS)
}

/** Sends a fault that replaces the answer. @internal */
export async function sendStandIn(exchange: Exchange, fault: Fault): Promise<void> {
  await exchange.sleep(fault.delayMs ?? 0)
  if (fault.hang === true) return exchange.stay()
  if (fault.resetBeforeHeaders === true) return exchange.cut(fault.cutWith ?? 'rst')
  if (fault.raw !== undefined) return exchange.raw(fault.raw)
  const { retryAfter, retryAfterMs, retryAfterSeconds, redirect } = fault
  const headers: Record<string, string> = {}
  if (redirect !== undefined) headers.location = redirect
  if (retryAfter !== undefined)
    headers['retry-after'] = isDate(retryAfter) ? retryAfter.toUTCString() : String(retryAfter)
  if (retryAfterMs !== undefined) headers['retry-after-ms'] = String(retryAfterMs)
  const status = fault.status ?? standInStatus(fault)
  const shape = fault.body ?? (status >= 520 && status <= 524 ? 'html' : 'blossom')
  const { body, contentType } =
    fault.json === undefined
      ? errorBody(shape, { status, requestId: exchange.requestId, retryAfterSeconds })
      : improperBody(fault.json)
  return sendWhole(
    exchange,
    { status, headers: { 'content-type': contentType, ...headers }, body: Buffer.from(body) },
    fault,
  )
}

/** Sends a body of known length, modified by the fault if there is one. @internal */
export async function sendWhole(
  exchange: Exchange,
  answer: { readonly status: number; readonly headers: Headers; readonly body: Buffer },
  fault: Fault = NO_FAULT,
): Promise<void> {
  const inBand = fault.errorAfterChunks !== undefined
  const { encoding, body } = encode(inBand ? Buffer.from(inBandError()) : answer.body, fault)
  const headers = { ...dress(answer.headers, fault), ...encoding }
  if (fault === NO_FAULT) {
    exchange.head(answer.status, { ...headers, 'content-length': body.length })
    return exchange.end('complete', body, 1)
  }
  // Send a `Content-Length`, unless the body will have another length.
  const otherLength =
    fault.endAfterChunks ??
    fault.garbageAfterChunks ??
    (fault.gzip === 'bomb' ? undefined : fault.bigBody)
  exchange.head(
    answer.status,
    otherLength === undefined ? { ...headers, 'content-length': body.length } : headers,
  )
  exchange.flushHead()
  const size =
    fault.splitBytes ?? (hasAny(fault, PIECEWISE) ? PIECE_BYTES : Math.max(1, body.length))
  const content: Buffer[] = []
  for (let at = 0; at < body.length; at += size) content.push(body.subarray(at, at + size))
  const sink = new Sink(exchange, fault.splitBytes, fault.chunkDelayMs ?? 0)
  const garbage = Buffer.from([0, 0xff, 0xfe, 0x7b])
  if (
    await spoil(exchange, sink, content, fault, { error: undefined, garbage, heartbeat: undefined })
  )
    return
  if (fault.bigBody !== undefined && fault.gzip !== 'bomb') {
    await fill(exchange, Buffer.alloc(BLOCK_BYTES, ' '), fault.bigBody - exchange.record.bytesSent)
  }
  exchange.end('fault')
}

/** Sends a stream of events, modified by the fault if there is one. @internal */
export async function sendStream(
  exchange: Exchange,
  frames: Frames,
  headers: Headers,
  chunkDelayMs: number,
  fault = NO_FAULT,
): Promise<void> {
  const encoding: Headers =
    fault.gzip === undefined || fault.gzip === false ? {} : { 'content-encoding': 'gzip' }
  exchange.head(200, {
    ...dress(
      {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        ...headers,
      },
      fault,
    ),
    ...encoding,
  })
  exchange.flushHead()
  const sink = new Sink(exchange, fault.splitBytes, fault.chunkDelayMs ?? chunkDelayMs)
  const wrong = {
    error: `data: ${inBandError()}\n\n`,
    garbage:
      fault.garbage === 'utf8'
        ? badUtf8(frames)
        : 'data: {"choices":[{"delta":{"content":"half of a\n\n',
    heartbeat: ': heartbeat\n\n',
  }
  if (await spoil(exchange, sink, frames.content, fault, wrong, frames)) return
  if (fault.bigBody !== undefined) {
    const block = frames.chunkOf('a chunk like many others '.repeat(8))
    while (exchange.record.bytesSent < fault.bigBody) await exchange.write(block, 1)
  }
  for (const frame of frames.tail) await sink.put(frame)
  const ghosts = fault.ghostChunks ?? 0
  const last = fault.noDone === true ? '' : (frames.done ?? DONE)
  if (fault.splitBytes === undefined && ghosts === 0 && fault.openAfterDone !== true)
    return exchange.end(fault === NO_FAULT ? 'complete' : 'fault', last)
  await sink.put(last, 0)
  for (let ghost = 0; ghost < ghosts; ghost++) await sink.put(frames.chunkOf('GHOST'))
  await sink.rest()
  if (fault.openAfterDone === true) return exchange.stay()
  exchange.end('fault')
}

function standInStatus(fault: Fault): number {
  const { redirect, json, body } = fault
  if (redirect !== undefined) return 302
  if (json !== undefined) return 200
  if (hasAny(fault, WAITS)) return 429
  return body === undefined || isErrorShape(body) ? 500 : 200
}

function improperBody(kind: NonNullable<Fault['json']>): { body: string; contentType: string } {
  const text =
    '{"id":"chatcmpl-local-0","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Half of'
  const bodies = {
    malformed: '{"id": chatcmpl-local-0, }',
    truncated: text,
    html: htmlPage(200),
    empty: '',
    shape: '{"choices":{"0":"not a list"}}',
  }
  return {
    body: bodies[kind],
    contentType: kind === 'html' ? 'text/html; charset=utf-8' : 'application/json',
  }
}

function encode(body: Buffer, { gzip, bigBody }: Fault): { encoding: Headers; body: Buffer } {
  if (gzip === undefined || gzip === false) return { encoding: {}, body }
  const encoding = { 'content-encoding': 'gzip' }
  if (gzip === true) return { encoding, body }
  if (gzip === 'truncated') {
    const packed = gzipSync(body)
    return { encoding, body: packed.subarray(0, packed.length >> 1) }
  }
  const bytes = bigBody === undefined || bigBody === Infinity ? BOMB_BYTES : bigBody
  return {
    encoding,
    body: gzipSync(Buffer.concat([body, Buffer.alloc(Math.max(0, bytes - body.length), ' ')])),
  }
}

function dress(headers: Headers, fault: Fault): Headers {
  const dressed: Record<string, string> = { ...headers, ...fault.headers }
  if (fault.contentType === '') delete dressed['content-type']
  else if (fault.contentType !== undefined) dressed['content-type'] = fault.contentType
  return dressed
}

function badUtf8(frames: Frames): Buffer {
  const [before = '', after = ''] = frames.chunkOf('LINE').split('LINE')
  return Buffer.concat([Buffer.from(before), Buffer.from([0xff, 0xfe]), Buffer.from(after)])
}
