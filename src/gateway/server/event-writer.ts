import type { ServerResponse } from 'node:http'
import { IdleTimer, type Reader, TimeoutError, Timer } from '../../core/index.js'
import { KEEP_ALIVE } from './event-body.js'
import type { EventText } from './written-events.js'

/**
 * Writes events to a client. All text that has arrived is one write; nothing is written while the
 * socket is full; a comment is sent after a long silence. A client that does not read in time is
 * disconnected.
 */
export function writeEvents(body: EventText, response: ServerResponse): void {
  new EventWriter(body, response).start()
}

class EventWriter implements Reader {
  readonly #body: EventText
  readonly #response: ServerResponse
  readonly #heartbeat: IdleTimer | undefined
  #full: Timer | undefined
  #isDue = false

  constructor(body: EventText, response: ServerResponse) {
    this.#body = body
    this.#response = response
    body.attach(this)
    response.on('drain', () => this.#drained())
    response.once('close', () => this.#closed())
    const { heartbeatMs } = body.delivery
    if (heartbeatMs > 0) this.#heartbeat = new IdleTimer(heartbeatMs, () => this.#write(KEEP_ALIVE))
  }

  start(): void {
    this.#send()
    // If there were events already, the headers were sent with them.
    if (!this.#response.headersSent) this.#response.flushHeaders()
  }

  /** Collects the pieces of one read from upstream into one write. */
  readable(): void {
    if (this.#isDue) return
    this.#isDue = true
    process.nextTick(() => this.#send())
  }

  #send(): void {
    this.#isDue = false
    while (this.#full === undefined) {
      const text = this.#body.take()
      if (text !== '') {
        this.#heartbeat?.restart()
        this.#write(text)
      }
      if (this.#body.isOver) return this.#end()
      if (text === '') return
    }
  }

  #write(text: string): void {
    if (this.#full !== undefined || this.#response.destroyed) return
    if (this.#response.write(text)) return
    const { writeTimeoutMs, cut } = this.#body.delivery
    this.#full = new Timer(writeTimeoutMs, () => {
      cut(new TimeoutError(writeTimeoutMs, { phase: 'read' }))
      this.#response.destroy()
    })
  }

  #drained(): void {
    this.#full?.stop()
    this.#full = undefined
    this.#send()
  }

  #end(): void {
    this.#heartbeat?.stop()
    this.#response.end()
  }

  #closed(): void {
    this.#heartbeat?.stop()
    this.#full?.stop()
    this.#body.leave()
  }
}
