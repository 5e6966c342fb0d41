import { randomUUID } from 'node:crypto'
import type { RawData, WebSocket } from 'ws'
import { ClosedError, now, RateLimitError, StackError, ValidationError } from '../../core/index.js'
import { FieldsError } from '../server/message.js'
import { problemOf } from '../server/reply.js'
import { report } from '../server/request-log.js'
import { type Caller, Generation, type Outlet, ROUTE, type Wanted } from './generation.js'
import { errorMessage, idOf, type MessageId, parseMessage, readMessage } from './message.js'
import type { SessionLimits } from './options.js'

/** `readyState` of a socket that may be sent to. */
const OPEN = 1

/** So much may lie unsent before an answer is read on. Bytes. */
const HIGH_WATER = 64 * 1024

/**
 * Codes with which a connection is ended. @see https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
 */
const CLOSE = { idle: 1000, away: 1001, abuse: 1008 } as const

/** One connection: reads its messages, keeps its limits, and ends its generations with it. */
export class Session implements Outlet {
  readonly #socket: WebSocket
  readonly #caller: Caller
  readonly #limits: SessionLimits
  readonly #running = new Set<Generation>()
  readonly #closed: Promise<void>
  readonly #pings: NodeJS.Timeout | undefined
  readonly #idle: NodeJS.Timeout | undefined
  #hangUp: NodeJS.Timeout | undefined
  #isHeard = true
  #isLeaving = false
  #isEnding = false
  #windowEnd = 0
  #messages = 0

  constructor(
    socket: WebSocket,
    caller: Caller,
    limits: SessionLimits,
    onClosed: (session: Session) => void,
  ) {
    this.#socket = socket
    this.#caller = caller
    this.#limits = limits
    const { idleMs, pingMs } = limits
    if (pingMs > 0) this.#pings = setInterval(() => this.#ping(), pingMs).unref()
    if (idleMs > 0) this.#idle = setTimeout(() => this.#idled(), idleMs).unref()
    socket.on('message', (data, isBinary) => this.#heard(data, isBinary))
    socket.on('pong', () => {
      this.#isHeard = true
    })
    // A frame that breaks the protocol, such as one too large: ws closes with the fitting code.
    socket.on('error', () => this.#gone())
    this.#closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#gone()
        clearTimeout(this.#hangUp)
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

  /** Ends the connection as soon as nothing runs on it. */
  leave(): void {
    this.#isLeaving = true
    if (this.#running.size === 0) void this.end()
  }

  /**
   * Ends the connection and what runs on it now. Resolves when the socket is closed; a visitor who
   * is silent about it is hung up on.
   */
  end(
    code: number = CLOSE.away,
    words = 'The server is shutting down.',
    reason: unknown = new ClosedError(words),
  ): Promise<void> {
    if (!this.#isEnding) {
      this.#socket.close(code, words)
      this.#stop()
      for (const generation of this.#running) generation.cut(reason)
    }
    return this.#closed
  }

  /** Nobody is there any more. */
  #gone(): void {
    this.#stop()
    for (const generation of this.#running) generation.leave()
  }

  #stop(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    clearInterval(this.#pings)
    clearTimeout(this.#idle)
    this.#hangUp = setTimeout(() => this.#socket.terminate(), this.#limits.closeTimeoutMs).unref()
  }

  #ping(): void {
    if (!this.#isHeard) return this.#socket.terminate()
    this.#isHeard = false
    this.#socket.ping()
  }

  #idled(): void {
    if (this.#running.size === 0) void this.end(CLOSE.idle, 'Nothing was asked for a long time.')
  }

  #heard(data: RawData, isBinary: boolean): void {
    if (this.#isEnding) return
    this.#isHeard = true
    this.#idle?.refresh()
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
      const spoken = readMessage(message)
      // Heeded at any rate: it ends what costs.
      if (spoken.type === 'cancel') this.#cancel(spoken.id)
      else if (wait > 0) throw this.#tooMany(wait)
      else if (spoken.type === 'ping') void this.send({ type: 'pong' })
      else this.#begin(spoken)
    } catch (error) {
      this.#refuse(wait > 0 ? this.#tooMany(wait) : error, id)
    }
  }

  /** Counts a message; how long to wait when there were too many, else 0. Milliseconds. */
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
    return new RateLimitError(`At most ${limit} messages within ${intervalMs} ms are taken.`, {
      refused: true,
      retryAfter,
    })
  }

  #begin(wanted: Wanted): void {
    const { maxGenerations } = this.#limits
    if (this.#isLeaving || this.#caller.core.isDraining())
      throw new ClosedError('The server is shutting down.')
    if (this.#isTaken(wanted)) {
      const sentence =
        wanted.id === undefined
          ? 'is needed: a stream without one is under way'
          : 'is in use by a generation under way'
      throw new FieldsError([{ field: 'id', message: sentence }])
    }
    if (this.#running.size >= maxGenerations) {
      const sentence = `At most ${maxGenerations} generations at a time are made on one connection; wait for one to end.`
      throw new StackError(sentence, {
        code: 'QUEUE_FULL',
        status: 503,
        retryable: true,
        refused: true,
      })
    }
    const generation = new Generation(wanted, this.#caller, this)
    this.#running.add(generation)
    void generation.run().then(() => this.#finished(generation))
  }

  /**
   * Chunks of two streams without an id could not be told apart; results of the guide's messages
   * need none.
   */
  #isTaken({ type, id }: Wanted): boolean {
    for (const other of this.#running)
      if (other.id === id && (id !== undefined || (type === 'stream' && other.streams))) return true
    return false
  }

  #finished(generation: Generation): void {
    this.#running.delete(generation)
    if (this.#isEnding || this.#running.size > 0) return
    if (this.#isLeaving) void this.end()
    else this.#idle?.refresh()
  }

  #cancel(id: MessageId): void {
    for (const generation of this.#running) if (generation.id === id && generation.cancel()) return
    throw new StackError('Nothing with this id is under way.', {
      code: 'NOT_FOUND',
      status: 404,
      refused: true,
    })
  }

  /**
   * Answers a message that came to nothing. It carries an id only when no generation under way
   * could be meant.
   */
  #refuse(error: unknown, id: MessageId | undefined): void {
    const { core, visitor } = this.#caller
    const requestId = randomUUID()
    const problem = problemOf(error, {
      requestId,
      errorDetail: core.options.errorDetail,
      visitorsKey: false,
    })
    const isRunning = [...this.#running].some((generation) => generation.id === id)
    void this.send(errorMessage(problem, isRunning ? undefined : id))
    const { status } = problem
    const startedAt = now()
    report(
      {
        requestId,
        method: 'WS',
        route: ROUTE,
        status,
        startedAt,
        firstTokenMs: undefined,
        meta: new Map(),
        visitor,
        left: false,
        error,
      },
      core,
    )
  }
}
