import type { IncomingMessage, ServerResponse } from 'node:http'
import { currentClock, now } from '../../core/index.js'
import { parseBody } from './body.js'
import { Refusal } from './errors.js'
import type { OpenRecord, Private } from './record.js'

/**
 * Saved before anybody can install fake timers, because a turn for the socket does not depend on
 * the clock.
 */
const nextTurn = globalThis.setImmediate

const MAX_BODY_BYTES = 64 * 1024 * 1024

/** Thrown when the client has disconnected, to stop all work for it. @internal */
export class Gone extends Error {
  override name = 'Gone'
}

/**
 * One request and its answer. Reads, waits and writes while the client is connected, and updates
 * the record.
 * @internal
 */
export class Exchange {
  #left = false
  #cut = false
  readonly #leaving = new Set<() => void>()
  readonly #atEnd: (() => void)[] = []

  constructor(
    readonly record: OpenRecord,
    readonly secret: Private,
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly changed: () => void,
  ) {
    response.once('close', () => {
      this.#left = true
      // The record is settled when the last bytes are handed over. If they were never sent, the
      // client disconnected first.
      if (record.outcome !== 'open' && !this.#cut && !response.writableFinished)
        record.outcome = 'aborted'
      this.settle('aborted')
      for (const leave of [...this.#leaving]) leave()
      changed()
    })
    // Ignored, because `close` follows every socket error.
    response.on('error', () => undefined)
  }

  get requestId(): string {
    return `req-local-${String(this.record.id).padStart(6, '0')}`
  }

  get hasHead(): boolean {
    return this.response.headersSent
  }

  /** Runs once, when the answer has ended or the client has disconnected. */
  atEnd(run: () => void): void {
    if (this.record.outcome === 'open') this.#atEnd.push(run)
    else run()
  }

  /**
   * Completes the record and releases what was held. Called before the last bytes are sent, so that
   * a client that has read them can rely on it.
   */
  settle(outcome: 'complete' | 'aborted' | 'fault'): void {
    if (this.record.outcome !== 'open') return
    this.record.outcome = outcome
    this.record.endedAt = now()
    for (const run of this.#atEnd.splice(0)) run()
  }

  /** Reads the body into the record. */
  async read(): Promise<void> {
    const parts: Buffer[] = []
    let size = 0
    try {
      for await (const part of this.request as AsyncIterable<Buffer>) {
        size += part.length
        if (size > MAX_BODY_BYTES)
          throw new Refusal(413, `The body is larger than ${MAX_BODY_BYTES} bytes.`, {
            headers: { connection: 'close' },
          })
        parts.push(part)
      }
    } catch (error) {
      throw error instanceof Refusal ? error : new Gone()
    }
    const bytes = Buffer.concat(parts)
    this.record.rawBody = bytes.toString('utf8')
    this.record.body = await parseBody(bytes, this.request.headers['content-type'] ?? '')
    this.changed()
  }

  /** Waits on the clock in use, which a test may have replaced. */
  sleep(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve()
    return this.#whileHere((done) => currentClock().startTimer(done, ms, true))
  }

  /** Waits for work that continues without this client. */
  waitFor<T>(work: Promise<T>): Promise<T> {
    return this.#whileHere<T>((done, failed) => {
      work.then(done, failed)
      return () => undefined
    })
  }

  /** Waits until the client disconnects. */
  stay(): Promise<never> {
    return this.#whileHere<never>(() => () => undefined)
  }

  head(status: number, headers: Readonly<Record<string, string | number>>): void {
    if (this.#left) throw new Gone()
    this.record.status = status
    this.response.writeHead(status, { 'x-request-id': this.requestId, ...headers })
    this.changed()
  }

  /** Sends the head alone, before the body. */
  flushHead(): void {
    this.response.flushHeaders()
  }

  /** Writes data. If the socket is full, waits until the client has read some. */
  async write(data: string | Buffer, chunks = 0): Promise<void> {
    if (this.#left) throw new Gone()
    this.#count(data, chunks)
    const roomLeft = this.response.write(data)
    this.changed()
    if (!roomLeft) {
      await this.#whileHere((done) => {
        this.response.once('drain', done)
        return () => this.response.off('drain', done)
      })
    }
  }

  /** Waits until everything written has left the process and the other side could read it. */
  async flush(): Promise<void> {
    await this.#whileHere((done) => {
      this.response.write('', () => nextTurn(done))
      return () => undefined
    })
  }

  end(outcome: 'complete' | 'fault', data: string | Buffer = '', chunks = 0): void {
    if (this.#left) throw new Gone()
    this.#count(data, chunks)
    this.settle(outcome)
    this.response.end(data)
    this.changed()
  }

  /** Breaks the connection. */
  async cut(how: 'fin' | 'rst'): Promise<void> {
    if (this.hasHead) await this.flush()
    this.#cut = true
    this.settle('fault')
    if (how === 'rst') this.request.socket.resetAndDestroy()
    else this.request.socket.destroy()
  }

  /** Sends raw bytes, bypassing HTTP, and closes the connection. */
  raw(bytes: string): void {
    this.#cut = true
    this.#count(bytes, 0)
    this.settle('fault')
    this.request.socket.end(Buffer.from(bytes, 'latin1'), () => this.request.socket.destroySoon())
  }

  #count(data: string | Buffer, chunks: number): void {
    this.record.bytesSent += Buffer.byteLength(data)
    this.record.chunksSent += chunks
  }

  #whileHere<T = void>(
    start: (done: (value: T) => void, failed: (reason: unknown) => void) => () => void,
  ): Promise<T> {
    if (this.#left) return Promise.reject(new Gone())
    return new Promise<T>((resolve, reject) => {
      let stop = (): void => undefined
      const leave = () => {
        stop()
        reject(new Gone())
      }
      const settled = () => this.#leaving.delete(leave)
      this.#leaving.add(leave)
      stop = start(
        (value) => {
          settled()
          resolve(value)
        },
        (reason) => {
          settled()
          reject(reason)
        },
      )
      this.changed() // so that `waitFor()` sees the latest state
    })
  }
}
