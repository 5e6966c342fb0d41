import { Timer } from '../../core/index.js'
import type { RedisClient } from '../client.js'
import type { Connection } from '../connection.js'
import { runScript } from '../run-script.js'
import { POST } from './scripts.js'

/** Maximum wait for a message, shorter than socket timeouts. Milliseconds. */
const BLOCK_MS = 1_000
/** Number of messages per read. */
const PAGE = 200
/** Delay after a failed read. Milliseconds. */
const AGAIN_MS = 250

/** Message about a log: it has new entries, a reader has joined or left, or it must stop. */
export type Note = 'more' | 'joined' | 'left' | 'stop'

/** Receives the messages about one log. */
export interface NoteListener {
  noted(note: Note): void
}

/**
 * The messages to one process, which waits for them on a separate connection. They are stored while
 * the process is disconnected. All logs share one inbox, so that in a cluster a single key
 * suffices.
 */
export class Inbox {
  readonly #connection: Connection
  readonly #prefix: string
  readonly #id: string
  readonly #listeners = new Map<string, Set<NoteListener>>()
  #hasBegun = false
  #isUp = false
  #isClosed = false

  constructor(connection: Connection, prefix: string, id: string) {
    this.#connection = connection
    this.#prefix = `${prefix}:inbox:`
    this.#id = id
  }

  get id(): string {
    return this.#id
  }

  /** Whether messages are received; otherwise logs must be polled. */
  get isUp(): boolean {
    return this.#isUp
  }

  listen(log: string, listener: NoteListener): void {
    const listeners = this.#listeners.get(log) ?? new Set()
    this.#listeners.set(log, listeners.add(listener))
    if (this.#hasBegun) return
    this.#hasBegun = true
    void this.#receive()
  }

  /** Removes a listener. Returns whether it was the last one of this log. */
  unlisten(log: string, listener: NoteListener): boolean {
    const listeners = this.#listeners.get(log)
    listeners?.delete(listener)
    if (listeners?.size !== 0) return false
    return this.#listeners.delete(log)
  }

  /** Sends a message to an inbox, without waiting. */
  post(to: string, log: string, note: Note): void {
    if (to === this.#id) return this.#note(log, note)
    const message = JSON.stringify([log, note])
    void this.#connection.run((client) => runScript(client, POST, [this.#prefix + to], [message]))
  }

  close(): void {
    this.#isClosed = true
  }

  async #receive(): Promise<void> {
    const client = await this.#connection.dedicated()
    let last = '0-0'
    while (client !== undefined && !this.#isClosed) {
      const id = await this.#next(client, last)
      this.#isUp = id !== undefined
      last = id ?? last
      if (id === undefined)
        await new Promise<void>((resolve) => new Timer(AGAIN_MS, resolve).unref())
    }
  }

  /**
   * Reads the next messages. Returns the id of the last one; `undefined` if Redis is unreachable.
   */
  async #next(client: RedisClient, last: string): Promise<string | undefined> {
    try {
      const stream = { key: this.#prefix + this.#id, id: last }
      const parts = await client.xRead(stream, { BLOCK: BLOCK_MS, COUNT: PAGE })
      const messages = parts?.[0]?.messages ?? []
      for (const { message } of messages) this.#received(message.m)
      return messages.at(-1)?.id ?? last
    } catch {
      return undefined
    }
  }

  #received(text: string | undefined): void {
    try {
      const [log, note] = JSON.parse(text ?? '') as [string, Note]
      this.#note(log, note)
    } catch {
      // Not a message of this library.
    }
  }

  #note(log: string, note: Note): void {
    for (const listener of [...(this.#listeners.get(log) ?? [])]) listener.noted(note)
  }
}
