import { IdleTimer, type Reader, TimeoutError } from '../../core/index.js'
import { KEEP_ALIVE } from './event-body.js'
import type { EventText } from './written-events.js'

type Controller = ReadableStreamDefaultController<Uint8Array>

const encoder = new TextEncoder()

/**
 * Events as the body of a web `Response`. Each pull gets all text that has arrived in one chunk.
 */
export function eventStream(body: EventText): ReadableStream<Uint8Array> {
  return new ReadableStream(new PulledEvents(body), { highWaterMark: 0 })
}

class PulledEvents implements Reader {
  readonly #body: EventText
  /** The pending pull, while there is no text. */
  #pull: { readonly controller: Controller; end(): void } | undefined
  #controller: Controller | undefined
  readonly #heartbeat: IdleTimer | undefined
  /** Runs while the reader has unread text. */
  readonly #unread: IdleTimer

  constructor(body: EventText) {
    this.#body = body
    body.attach(this)
    const { heartbeatMs, writeTimeoutMs } = body.delivery
    if (heartbeatMs > 0) this.#heartbeat = new IdleTimer(heartbeatMs, () => this.#beat())
    this.#unread = new IdleTimer(writeTimeoutMs, () => this.#cutIfUnread(writeTimeoutMs))
  }

  start(controller: Controller): void {
    this.#controller = controller
  }

  pull(controller: Controller): Promise<void> {
    return new Promise((resolve) => {
      this.#pull = { controller, end: resolve }
      this.readable()
    })
  }

  cancel(): void {
    this.#stop()
    this.#body.leave()
    this.#endPull()
  }

  readable(): void {
    const pull = this.#pull
    if (pull === undefined) return
    const text = this.#body.take()
    if (text !== '') this.#send(text, pull.controller)
    if (this.#body.isOver) {
      this.#stop()
      pull.controller.close()
    } else if (text === '') return
    this.#endPull()
  }

  #send(text: string, controller: Controller): void {
    this.#heartbeat?.restart()
    this.#unread.restart()
    controller.enqueue(encoder.encode(text))
  }

  #endPull(): void {
    this.#pull?.end()
    this.#pull = undefined
  }

  #stop(): void {
    this.#heartbeat?.stop()
    this.#unread.stop()
  }

  /** Sends a comment to a waiting reader. */
  #beat(): void {
    if (this.#pull === undefined) return
    this.#send(KEEP_ALIVE, this.#pull.controller)
    this.#endPull()
  }

  /** Ends the stream if the reader does not pull. */
  #cutIfUnread(writeTimeoutMs: number): void {
    if (this.#pull !== undefined) return
    const error = new TimeoutError(writeTimeoutMs, { phase: 'read' })
    this.#stop()
    this.#body.delivery.cut(error)
    this.#body.leave()
    this.#controller?.error(error)
  }
}
