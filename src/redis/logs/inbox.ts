import { Timer } from '../../core/index.js'
import type { RedisClient } from '../client.js'
import type { Connection } from '../connection.js'
import { runScript } from '../run-script.js'
import { POST } from './scripts.js'

/** Longest wait for a message; shorter than the time after which sockets are taken for dead. */
const BLOCK_MS = 1_000
/** Messages that are read in one go. */
const PAGE = 200
/** Pause before another try when Redis cannot be asked. Milliseconds. */
const AGAIN_MS = 250

/** Of a log: there is more to read, somebody reads or reads no more, or it is to stop. */
export type Note = 'more' | 'joined' | 'left' | 'stop'

/** Hears what is written to this process of one log. */
export interface NoteListener {
  noted(note: Note): void
}

/**
 * Messages to one process, which waits for them by a connection of its own. They are kept while it is
 * away, and in a cluster it is one key to wait for, however many logs there are.
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

  /** Whether messages come; while they do not, one has to look oneself. */
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

  /** Whether it was the last one of this log. */
  unlisten(log: string, listener: NoteListener): boolean {
    const listeners = this.#listeners.get(log)
    listeners?.delete(listener)
    if (listeners?.size !== 0) return false
    return this.#listeners.delete(log)
  }

  /** Nobody waits for it. */
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

  /** Id of the last message; undefined when Redis cannot be asked. */
  async #next(client: RedisClient, last: string): Promise<string | undefined> {
    try {
      const stream = { key: this.#prefix + this.#id, id: last }
      const parts = await client.xRead(stream, { BLOCK: BLOCK_MS, COUNT: PAGE })
      const messages = parts?.[0]?.messages ?? []
      for (const { message } of messages) this.#heard(message.m)
      return messages.at(-1)?.id ?? last
    } catch {
      return undefined
    }
  }

  #heard(text: string | undefined): void {
    try {
      const [log, note] = JSON.parse(text ?? '') as [string, Note]
      this.#note(log, note)
    } catch {
      // Anybody may write to the inbox; it is none of ours.
    }
  }

  #note(log: string, note: Note): void {
    for (const listener of [...(this.#listeners.get(log) ?? [])]) listener.noted(note)
  }
}
