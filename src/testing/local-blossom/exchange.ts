import type { IncomingMessage, ServerResponse } from 'node:http'
import { currentClock, now } from '../../core/index.js'
import { parseBody } from './body.js'
import { Refusal } from './errors.js'
import type { OpenRecord, Private } from './record.js'

/**
 * Taken before anybody can install fake timers: giving the socket a turn is not a matter of time.
 */
const nextTurn = globalThis.setImmediate

const MAX_BODY_BYTES = 64 * 1024 * 1024

/** The client has left; unwinds whatever was being done for it. @internal */
export class Gone extends Error {
  override name = 'Gone'
}

/**
 * One request and its answer: reads, waits and writes for as long as the client is there, and keeps
 * the record. @internal
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
      // Settled when its last bytes were handed over; if these never left, the client did before
      // them.
      if (record.outcome !== 'open' && !this.#cut && !response.writableFinished)
        record.outcome = 'aborted'
      this.settle('aborted')
      for (const leave of [...this.#leaving]) leave()
      changed()
    })
    // `close` follows whatever goes wrong with a socket.
    response.on('error', () => undefined)
  }

  get requestId(): string {
    return `req-local-${String(this.record.id).padStart(6, '0')}`
  }

  get hasHead(): boolean {
    return this.response.headersSent
  }

  /** Runs once, when the answer has ended or the client has left, whichever is first. */
  atEnd(run: () => void): void {
    if (this.record.outcome === 'open') this.#atEnd.push(run)
    else run()
  }

  /**
   * Closes the record and gives back what was held. It comes before the last bytes: who has read
   * them may rely on it.
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

  /** Waits on the clock that a test may have set. */
  sleep(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve()
    return this.#whileHere((done) => currentClock().startTimer(done, ms, true))
  }

  /** Waits for something that goes on without this client. */
  waitFor<T>(work: Promise<T>): Promise<T> {
    return this.#whileHere<T>((done, failed) => {
      work.then(done, failed)
      return () => undefined
    })
  }

  /** Does nothing until the client leaves. */
  stay(): Promise<never> {
    return this.#whileHere<never>(() => () => undefined)
  }

  head(status: number, headers: Readonly<Record<string, string | number>>): void {
    if (this.#left) throw new Gone()
    this.record.status = status
    this.response.writeHead(status, { 'x-request-id': this.requestId, ...headers })
    this.changed()
  }

  /** Sends the head by itself, ahead of a body that is still to come. */
  flushHead(): void {
    this.response.flushHeaders()
  }

  /** Writes and, if the socket is full, waits until the client has taken some. */
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

  /** Lets everything written leave the process, and the other side read it. */
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

  /** Breaks the connection off. */
  async cut(how: 'fin' | 'rst'): Promise<void> {
    if (this.hasHead) await this.flush()
    this.#cut = true
    this.settle('fault')
    if (how === 'rst') this.request.socket.resetAndDestroy()
    else this.request.socket.destroy()
  }

  /** Sends bytes past HTTP and closes the connection. */
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
      this.changed() // what led here, and that the waiting has begun
    })
  }
}
