import { gzipSync } from 'node:zlib'
import { isDate } from '../../core/index.js'
import { errorBody, htmlPage, inBandError } from './errors.js'
import type { Exchange } from './exchange.js'
import type { Fault } from './faults.js'
import { DONE, type Frames } from './frames.js'

type Headers = Readonly<Record<string, string>>

const NO_FAULT: Fault = {}
/** Length of the pieces of a body that is no stream, when a fault wants pieces. */
const PIECE_BYTES = 64
const BLOCK_BYTES = 64 * 1024
const BOMB_BYTES = 64 * 1024 * 1024

/** True when a fault stands in for the answer, so that none need be made. @internal */
export function standsIn({
  raw,
  resetBeforeHeaders,
  hang,
  redirect,
  status,
  body,
  json,
  ...fault
}: Fault): boolean {
  if (resetBeforeHeaders === true || hang === true) return true
  const { retryAfter, retryAfterMs, retryAfterSeconds } = fault
  return [raw, redirect, status, body, json, retryAfter, retryAfterMs, retryAfterSeconds].some(
    (value) => value !== undefined,
  )
}

/** Plays a fault that stands in for the answer. @internal */
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

/** Sends a body of known length, spoilt by the fault if there is one. @internal */
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
  // A length is promised unless the body will be another.
  const otherLength =
    fault.endAfterChunks ??
    fault.garbageAfterChunks ??
    (fault.gzip === 'bomb' ? undefined : fault.bigBody)
  exchange.head(
    answer.status,
    otherLength === undefined ? { ...headers, 'content-length': body.length } : headers,
  )
  exchange.flushHead()
  const size = fault.splitBytes ?? (spoilsPieces(fault) ? PIECE_BYTES : Math.max(1, body.length))
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

/** Sends a stream of events, spoilt by the fault if there is one. @internal */
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
  const last = fault.noDone === true ? '' : DONE
  if (fault.splitBytes === undefined && ghosts === 0 && fault.openAfterDone !== true)
    return exchange.end(fault === NO_FAULT ? 'complete' : 'fault', last)
  await sink.put(last, 0)
  for (let ghost = 0; ghost < ghosts; ghost++) await sink.put(frames.chunkOf('GHOST'))
  await sink.rest()
  if (fault.openAfterDone === true) return exchange.stay()
  exchange.end('fault')
}

/** What a body looks like when something goes wrong in it. */
interface Wrong {
  readonly error: string | undefined
  readonly garbage: string | Buffer
  readonly heartbeat: string | undefined
}

/** Sends the pieces of a body up to where the fault strikes; true when nothing is to follow. */
async function spoil(
  exchange: Exchange,
  sink: Sink,
  content: readonly (string | Buffer)[],
  fault: Fault,
  wrong: Wrong,
  frames?: Frames,
): Promise<boolean> {
  const due = (after: number | undefined, sent: number) =>
    after !== undefined && sent >= Math.min(after, content.length)
  let garbled = false
  for (let sent = frames === undefined ? 0 : -1; ; sent++) {
    if (due(fault.garbageAfterChunks, sent) && !garbled) {
      garbled = true
      await sink.put(wrong.garbage)
    }
    if (due(fault.errorAfterChunks, sent) && wrong.error !== undefined) {
      await sink.put(wrong.error)
      await sink.rest()
      exchange.end('fault')
      return true
    }
    if (due(fault.endAfterChunks, sent)) {
      await sink.rest()
      exchange.end('fault')
      return true
    }
    if (due(fault.cutAfterChunks, sent)) {
      await sink.rest()
      await exchange.cut(fault.cutWith ?? 'fin')
      return true
    }
    if (due(fault.stallAfterChunks, sent)) {
      await sink.rest()
      await stall(exchange, fault, wrong.heartbeat)
    }
    if (sent === 0 && frames !== undefined && fault.bigLine !== undefined)
      await sendBigLine(exchange, frames, fault.bigLine)
    const piece = sent === -1 ? frames?.head : content[sent]
    if (piece === undefined) break
    // A stream without its finish reason is broken even when all its text has come; any other body
    // must lack its last piece.
    const last = frames === undefined && sent === content.length - 1
    if (
      last &&
      (fault.cutAfterChunks ?? fault.stallAfterChunks ?? fault.endAfterChunks ?? -1) > sent
    )
      continue
    await sink.put(piece)
  }
  await sink.rest()
  return false
}

async function stall(
  exchange: Exchange,
  { heartbeatMs }: Fault,
  heartbeat: string | undefined,
): Promise<never> {
  while (heartbeatMs !== undefined && heartbeat !== undefined) {
    await exchange.sleep(heartbeatMs)
    await exchange.write(heartbeat)
  }
  return exchange.stay()
}

async function sendBigLine(exchange: Exchange, frames: Frames, bytes: number): Promise<void> {
  const [before = '', after = ''] = frames.chunkOf('LINE').split('LINE')
  await exchange.write(before)
  await fill(exchange, Buffer.alloc(BLOCK_BYTES, 'x'), bytes)
  await exchange.write(after, 1)
}

async function fill(exchange: Exchange, block: Buffer, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; left -= block.length)
    await exchange.write(left < block.length ? block.subarray(0, left) : block)
}

/**
 * Writes pieces as they come, or cut anew into writes of a fixed size, with a pause before each
 * write but the first.
 */
class Sink {
  #waiting = Buffer.alloc(0)
  #first = true

  constructor(
    private readonly exchange: Exchange,
    private readonly size: number | undefined,
    private readonly delayMs: number,
  ) {}

  async put(piece: string | Buffer, chunks = 1): Promise<void> {
    if (this.size === undefined) return this.#write(piece, chunks)
    this.#waiting = Buffer.concat([this.#waiting, Buffer.from(piece)])
    this.exchange.record.chunksSent += chunks
    while (this.#waiting.length >= this.size) {
      await this.#write(this.#waiting.subarray(0, this.size), 0)
      this.#waiting = this.#waiting.subarray(this.size)
      await this.exchange.flush()
    }
  }

  /** Writes what is too short for a write of its own. */
  async rest(): Promise<void> {
    if (this.#waiting.length > 0) await this.#write(this.#waiting, 0)
    this.#waiting = Buffer.alloc(0)
  }

  async #write(data: string | Buffer, chunks: number): Promise<void> {
    if (!this.#first) await this.exchange.sleep(this.delayMs)
    this.#first = false
    await this.exchange.write(data, chunks)
  }
}

function standInStatus({
  redirect,
  json,
  body,
  retryAfter,
  retryAfterMs,
  retryAfterSeconds,
}: Fault): number {
  if (redirect !== undefined) return 302
  if (json !== undefined) return 200
  if ([retryAfter, retryAfterMs, retryAfterSeconds].some((value) => value !== undefined)) return 429
  return body !== undefined && !['blossom', 'openai', 'plain-error', 'html', 'empty'].includes(body)
    ? 200
    : 500
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

function spoilsPieces(fault: Fault): boolean {
  const { cutAfterChunks, endAfterChunks, stallAfterChunks, garbageAfterChunks } = fault
  return [cutAfterChunks, endAfterChunks, stallAfterChunks, garbageAfterChunks].some(
    (after) => after !== undefined,
  )
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
