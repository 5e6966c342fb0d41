import type { Exchange } from './exchange.js'
import type { Fault } from './faults.js'
import type { Frames } from './frames.js'

/** Size of the writes that fill a body. */
export const BLOCK_BYTES = 64 * 1024

/** The content to send for each kind of fault. */
export interface Wrong {
  readonly error: string | undefined
  readonly garbage: string | Buffer
  readonly heartbeat: string | undefined
}

/** Sends the pieces of a body up to the fault. Returns true when nothing must follow. */
export async function spoil(
  exchange: Exchange,
  sink: Sink,
  content: readonly (string | Buffer)[],
  fault: Fault,
  wrong: Wrong,
  frames?: Frames,
): Promise<boolean> {
  const last = content.length - 1
  const strike = fault.cutAfterChunks ?? fault.stallAfterChunks ?? fault.endAfterChunks ?? -1
  let sent = frames === undefined ? 0 : -1
  let garbled = false
  const isDue = (after: number | undefined) =>
    after !== undefined && sent >= Math.min(after, content.length)
  const endEarly = async () => {
    await sink.rest()
    exchange.end('fault')
    return true
  }
  for (; ; sent++) {
    if (isDue(fault.garbageAfterChunks) && !garbled) {
      garbled = true
      await sink.put(wrong.garbage)
    }
    if (isDue(fault.errorAfterChunks) && wrong.error !== undefined) {
      await sink.put(wrong.error)
      return endEarly()
    }
    if (isDue(fault.endAfterChunks)) return endEarly()
    if (isDue(fault.cutAfterChunks)) {
      await sink.rest()
      await exchange.cut(fault.cutWith ?? 'fin')
      return true
    }
    if (isDue(fault.stallAfterChunks)) {
      await sink.rest()
      await stall(exchange, fault, wrong.heartbeat)
    }
    if (sent === 0 && frames !== undefined && fault.bigLine !== undefined)
      await sendBigLine(exchange, frames, fault.bigLine)
    const piece = sent === -1 ? frames?.head : content[sent]
    if (piece === undefined) break
    // A stream without its finish reason is broken even if all text has arrived. Any other body
    // must lack its last piece.
    if (frames === undefined && sent === last && strike > sent) continue
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

export async function fill(exchange: Exchange, block: Buffer, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; left -= block.length)
    await exchange.write(left < block.length ? block.subarray(0, left) : block)
}

/**
 * Writes pieces as they come, or in writes of a fixed size, with a pause before each write except
 * the first.
 */
export class Sink {
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

  /** Writes what is left. */
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
