import { randomUUID } from 'node:crypto'
import type { RawData, WebSocket } from 'ws'
import {
  ClosedError,
  IdleTimer,
  now,
  RateLimitError,
  Timer,
  ValidationError,
} from '../../core/index.js'
import { rejection } from '../rejection.js'
import { type MessageId, readBody, SocketMessage } from '../schemas.js'
import { FieldsError } from '../server/message.js'
import { problemOf } from '../server/reply.js'
import { report } from '../server/request-log.js'
import {
  type Connection,
  Generation,
  type GenerationMessage,
  type Outlet,
  ROUTE,
} from './generation.js'
import { errorMessage, idOf, parseMessage } from './message.js'
import type { SessionLimits } from './options.js'

/** `readyState` of a socket that may be sent to. */
const OPEN = 1

/** Bytes that may wait to be sent before reading of the answer pauses. */
const HIGH_WATER = 64 * 1024

/**
 * Close codes. @see https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
 */
const CLOSE = { idle: 1000, away: 1001, abuse: 1008 } as const

/** One connection. Reads messages, enforces limits, and aborts its generations when it ends. */
export class Session implements Outlet {
  readonly #socket: WebSocket
  readonly #connection: Connection
  readonly #limits: SessionLimits
  readonly #running = new Set<Generation>()
  readonly #closed: Promise<void>
  readonly #pings: IdleTimer | undefined
  readonly #idle: IdleTimer | undefined
  #hangUp: Timer | undefined
  #isAlive = true
  #isLeaving = false
  #isEnding = false
  #windowEnd = 0
  #messages = 0

  constructor(
    socket: WebSocket,
    connection: Connection,
    limits: SessionLimits,
    onClosed: (session: Session) => void,
  ) {
    this.#socket = socket
    this.#connection = connection
    this.#limits = limits
    const { idleMs, pingMs } = limits
    if (pingMs > 0) this.#pings = new IdleTimer(pingMs, () => this.#ping())
    if (idleMs > 0) this.#idle = new IdleTimer(idleMs, () => this.#idled())
    socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary))
    socket.on('pong', () => {
      this.#isAlive = true
    })
    // Invalid frames, such as too large ones. ws closes the socket with the right code.
    socket.on('error', () => this.#gone())
    this.#closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#gone()
        this.#hangUp?.stop()
        onClosed(this)
        resolve()
      })
    })
  }

  get isBehind(): boolean {
    return this.#socket.bufferedAmount > HIGH_WATER
  }

  send(message: object): Promise<void> {
    const socket = this.#socket
    if (socket.readyState !== OPEN) return Promise.resolve()
    return new Promise((resolve) => socket.send(JSON.stringify(message), () => resolve()))
  }

  /** Ends the connection as soon as no generation runs on it. */
  leave(): void {
    this.#isLeaving = true
    if (this.#running.size === 0) void this.end()
  }

  /**
   * Ends the connection and its generations now. Resolves when the socket is closed, which is
   * forced if the client does not confirm.
   */
  end(
    code: number = CLOSE.away,
    sentence = 'The server is shutting down.',
    reason: unknown = new ClosedError(sentence),
  ): Promise<void> {
    if (!this.#isEnding) {
      this.#socket.close(code, sentence)
      this.#stop()
      for (const generation of this.#running) generation.cut(reason)
    }
    return this.#closed
  }

  /** Called when the client has disconnected. */
  #gone(): void {
    this.#stop()
    for (const generation of this.#running) generation.leave()
  }

  #stop(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.#pings?.stop()
    this.#idle?.stop()
    this.#hangUp = new Timer(this.#limits.closeTimeoutMs, () => this.#socket.terminate()).unref()
  }

  #ping(): void {
    if (!this.#isAlive) return this.#socket.terminate()
    this.#isAlive = false
    this.#socket.ping()
  }

  #idled(): void {
    if (this.#running.size === 0) void this.end(CLOSE.idle, 'The connection was idle for too long.')
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#isEnding) return
    this.#isAlive = true
    this.#idle?.restart()
    const wait = this.#overRate()
    this.#answer(data, isBinary, wait)
    if (this.#messages > 2 * this.#limits.rate.limit)
      void this.end(CLOSE.abuse, 'Too many messages.', this.#tooMany(wait))
  }

  #answer(data: RawData, isBinary: boolean, wait: number): void {
    let id: MessageId | undefined
    try {
      if (isBinary) throw new ValidationError('The message must be text, not binary.')
      const message = parseMessage((data as Buffer).toString())
      id = idOf(message)
      const read = readBody(SocketMessage, message)
      // Allowed even above the rate limit, because it saves work.
      if (read.type === 'cancel') this.#cancel(read.id)
      else if (wait > 0) throw this.#tooMany(wait)
      else if (read.type === 'ping') void this.send({ type: 'pong' })
      else this.#begin(read)
    } catch (error) {
      this.#refuse(wait > 0 ? this.#tooMany(wait) : error, id)
    }
  }

  /** Counts a message. Returns the milliseconds to wait if there were too many, else 0. */
  #overRate(): number {
    const { limit, intervalMs } = this.#limits.rate
    const at = now()
    if (at >= this.#windowEnd) {
      this.#windowEnd = at + intervalMs
      this.#messages = 0
    }
    return ++this.#messages > limit ? this.#windowEnd - at : 0
  }

  #tooMany(retryAfter: number): RateLimitError {
    const { limit, intervalMs } = this.#limits.rate
    return new RateLimitError(`At most ${limit} messages within ${intervalMs} ms are allowed.`, {
      refused: true,
      retryAfter,
    })
  }

  #begin(message: GenerationMessage): void {
    const { maxGenerations } = this.#limits
    if (this.#isLeaving || this.#connection.core.isDraining())
      throw new ClosedError('The server is shutting down.')
    if (this.#isTaken(message)) {
      const sentence =
        message.id === undefined
          ? 'is required: a stream without one is in progress'
          : 'is in use by a generation in progress'
      throw new FieldsError([{ field: 'id', message: sentence }])
    }
    if (this.#running.size >= maxGenerations) {
      const sentence = `At most ${maxGenerations} generations may run on one connection. Wait for one to end.`
      throw rejection('QUEUE_FULL', 503, sentence, { retryable: true })
    }
    const generation = new Generation(message, this.#connection, this)
    this.#running.add(generation)
    void generation.run().then(() => this.#finished(generation))
  }

  /**
   * Whether the id of a message is in use. Two streams without an id count as well, as their chunks
   * could not be distinguished; `generate` messages have one answer each and need no id.
   */
  #isTaken({ type, id }: GenerationMessage): boolean {
    for (const other of this.#running)
      if (other.id === id && (id !== undefined || (type === 'stream' && other.streams))) return true
    return false
  }

  #finished(generation: Generation): void {
    this.#running.delete(generation)
    if (this.#isEnding || this.#running.size > 0) return
    if (this.#isLeaving) void this.end()
    else this.#idle?.restart()
  }

  #cancel(id: MessageId): void {
    for (const generation of this.#running) if (generation.id === id && generation.cancel()) return
    throw rejection('NOT_FOUND', 404, 'No generation with this id is in progress.')
  }

  /**
   * Answers a rejected message. The id is left out if a generation in progress has the same one:
   * the error is not about that generation.
   */
  #refuse(error: unknown, id: MessageId | undefined): void {
    const { core, caller } = this.#connection
    const requestId = randomUUID()
    const problem = problemOf(error, {
      requestId,
      errorDetail: core.options.errorDetail,
      usesCallersKey: false,
    })
    const isRunning = [...this.#running].some((generation) => generation.id === id)
    void this.send(errorMessage(problem, isRunning ? undefined : id))
    const { status } = problem
    report({ requestId, method: 'WS', route: ROUTE, status, startedAt: now(), caller, error }, core)
  }
}
