import { now, Timer } from '../core/index.js'
import type { Connection } from './connection.js'

/** Interval of heartbeats, and the time after which a silent process is dropped. Milliseconds. */
const BEAT_MS = 3_000
const FORGOTTEN_MS = 10_000

/** A message from one process to the others. */
export type Message =
  | { readonly type: 'beat'; readonly count: number }
  | { readonly type: 'deleted'; readonly cache: string; readonly key: string }
  | { readonly type: 'cleared'; readonly cache: string }
  | CircuitMessage
  | FreedMessage

/** A change of a circuit. `key` is a digest of its key; `ms` is how long it stays open. */
type CircuitMessage =
  | {
      readonly type: 'opened'
      readonly breaker: string
      readonly key: string
      readonly openings: number
      readonly ms: number
    }
  | {
      readonly type: 'closed' | 'released'
      readonly breaker: string
      readonly key: string
    }

/** A slot of a queue may be free for the process `to`, which is waiting. */
interface FreedMessage {
  readonly type: 'freed'
  readonly queue: string
  readonly to: string
}

type Sent = Message & { readonly from: string }

/** Receives the messages of other processes. */
export interface Listener {
  received(message: Message): void
  /** Called when messages may have been missed. */
  missed(): void
}

/**
 * Messages between the processes of a service, by publish and subscribe of Redis, which loses
 * messages while a connection is down. So each process also checks that it receives its own
 * heartbeats: if one is missing, other messages may be missing too.
 */
export class Messages {
  readonly #connection: Connection
  readonly #channel: string
  readonly #id: string
  readonly #listeners: Listener[] = []
  /** Time of the last message of each process. */
  readonly #lastSeenAt = new Map<string, number>()
  #beats = 0
  #lastOwnBeat = 0
  #timer: Timer | undefined
  #isClosed = false

  constructor(connection: Connection, channel: string, id: string) {
    this.#connection = connection
    this.#channel = channel
    this.#id = id
    connection.subscribe(channel, {
      received: (text) => this.#received(text),
      missed: () => this.#missed(),
    })
    void connection.opened.then(() => this.#beat())
  }

  listen(listener: Listener): void {
    this.#listeners.push(listener)
  }

  /** Sends a message without waiting. It may be lost. */
  send(message: Message): void {
    const text = JSON.stringify({ ...message, from: this.#id })
    void this.#connection.run((client) => client.publish(this.#channel, text))
  }

  /** Number of processes, including this one. */
  get processes(): number {
    return Math.max(1, this.#lastSeenAt.size)
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.stop()
  }

  #beat(): void {
    if (this.#isClosed) return
    this.send({ type: 'beat', count: ++this.#beats })
    this.#timer = new Timer(BEAT_MS, () => this.#beat()).unref()
  }

  #received(text: string): void {
    const message = read(text)
    if (message === undefined) return
    this.#lastSeenAt.set(message.from, now())
    if (message.type === 'beat') {
      if (message.from === this.#id) this.#receivedOwn(message.count)
      return
    }
    if (message.from !== this.#id)
      for (const listener of this.#listeners) listener.received(message)
  }

  #receivedOwn(count: number): void {
    // Drop silent processes only while this one receives messages itself.
    const since = now() - FORGOTTEN_MS
    for (const [id, at] of this.#lastSeenAt) if (at < since) this.#lastSeenAt.delete(id)
    const isNext = count === this.#lastOwnBeat + 1
    this.#lastOwnBeat = count
    if (!isNext) this.#missed()
  }

  #missed(): void {
    for (const listener of this.#listeners) listener.missed()
  }
}

/** Parses a message; other software may also send to the channel. */
function read(text: string): Sent | undefined {
  try {
    const { type, from, count, cache, key, breaker, openings, ms, queue, to } = JSON.parse(text)
    if (typeof from !== 'string') return undefined
    if (type === 'beat' && Number.isSafeInteger(count)) return { type, from, count }
    if (type === 'cleared' && typeof cache === 'string') return { type, from, cache }
    if (type === 'deleted' && typeof cache === 'string' && typeof key === 'string')
      return { type, from, cache, key }
    if (typeof breaker === 'string' && typeof key === 'string') {
      if (type === 'closed' || type === 'released') return { type, from, breaker, key }
      if (type === 'opened' && Number.isSafeInteger(openings) && Number.isFinite(ms))
        if (openings > 0 && ms > 0) return { type, from, breaker, key, openings, ms }
    }
    if (type === 'freed' && typeof queue === 'string' && typeof to === 'string')
      return { type, from, queue, to }
  } catch {
    // Not a message of this library.
  }
  return undefined
}
