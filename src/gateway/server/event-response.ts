import { type Reader, TimeoutError } from '../../core/index.js'
import { type EventBody, KEEP_ALIVE } from './event-body.js'

type Controller = ReadableStreamDefaultController<Uint8Array>

const encoder = new TextEncoder()

/**
 * Events as the body of a web `Response`: whatever is there in one chunk, asked for by the reader.
 */
export function eventStream(body: EventBody): ReadableStream<Uint8Array> {
  return new ReadableStream(new PulledEvents(body), { highWaterMark: 0 })
}

class PulledEvents implements Reader {
  readonly #body: EventBody
  /** The pull that waits for text. */
  #pull: { readonly controller: Controller; end(): void } | undefined
  #controller: Controller | undefined
  #timer: NodeJS.Timeout | undefined
  #sentAt = performance.now()

  constructor(body: EventBody) {
    this.#body = body
    body.attach(this)
    const { heartbeatMs, writeTimeoutMs } = body.delivery
    const everyMs = heartbeatMs > 0 ? Math.min(heartbeatMs, writeTimeoutMs) : writeTimeoutMs
    this.#timer = setInterval(() => this.#look(), everyMs).unref()
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
    this.#sentAt = performance.now()
    this.#timer?.refresh()
    controller.enqueue(encoder.encode(text))
  }

  #endPull(): void {
    this.#pull?.end()
    this.#pull = undefined
  }

  #stop(): void {
    clearInterval(this.#timer)
  }

  /** Now and then: a comment for a reader who waits, the end for one who does not read. */
  #look(): void {
    const { heartbeatMs, writeTimeoutMs } = this.#body.delivery
    const silentMs = performance.now() - this.#sentAt
    const pull = this.#pull
    if (pull === undefined) {
      if (silentMs >= writeTimeoutMs) this.#cut(writeTimeoutMs)
    } else if (heartbeatMs > 0 && silentMs >= heartbeatMs) {
      this.#send(KEEP_ALIVE, pull.controller)
      this.#endPull()
    }
  }

  #cut(writeTimeoutMs: number): void {
    const error = new TimeoutError(writeTimeoutMs, { phase: 'read' })
    this.#stop()
    this.#body.delivery.cut(error)
    this.#body.leave()
    this.#controller?.error(error)
  }
}
