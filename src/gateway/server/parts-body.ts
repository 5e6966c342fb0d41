import type { ServerResponse } from 'node:http'
import { type StreamEnd, TimeoutError, Timer } from '../../core/index.js'
import type { EventDelivery } from './written-events.js'

/** A body that is generated part by part while it is sent. */
export class PartsBody {
  readonly delivery: Pick<EventDelivery, 'writeTimeoutMs' | 'cut'>
  readonly #source: AsyncGenerator<string | Uint8Array, undefined, undefined>
  readonly #listeners: ((end: StreamEnd) => void)[] = []
  #end: StreamEnd | undefined

  constructor(
    source: AsyncGenerator<string | Uint8Array, undefined, undefined>,
    delivery: Pick<EventDelivery, 'writeTimeoutMs' | 'cut'>,
  ) {
    this.#source = source
    this.delivery = delivery
  }

  /** Calls `listener` once, when the last part has been taken or the writer has stopped. */
  onEnd(listener: (end: StreamEnd) => void): void {
    if (this.#end !== undefined) listener(this.#end)
    else this.#listeners.push(listener)
  }

  /** Called if the writer stops before the end. */
  leave(): void {
    if (this.#end !== undefined) return
    this.#finish({ outcome: 'left' })
    // Lets the source release its resources; its errors no longer matter.
    this.#source.return(undefined).catch(() => {})
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string | Uint8Array, undefined, undefined> {
    try {
      for await (const part of this.#source) yield part
      this.#finish({ outcome: 'complete' })
    } catch (error) {
      this.#finish({ outcome: 'failed', error })
      throw error
    } finally {
      this.leave()
    }
    return undefined
  }

  #finish(end: StreamEnd): void {
    if (this.#end !== undefined) return
    this.#end = end
    for (const listener of this.#listeners.splice(0)) listener(end)
  }
}

/**
 * Writes a body to a client, and waits while the socket is full. Destroys the connection if the
 * client does not read in time, or if the body fails, so that the client cannot mistake the partial
 * body for a complete one.
 */
export async function writeParts(body: PartsBody, response: ServerResponse): Promise<void> {
  try {
    for await (const part of body) {
      if (response.destroyed) return
      if (!response.write(part)) await drained(body, response)
    }
    response.end()
  } catch {
    // `onEnd` listeners have already received the error.
    response.destroy()
  }
}

function drained({ delivery }: PartsBody, response: ServerResponse): Promise<void> {
  const { writeTimeoutMs, cut } = delivery
  return new Promise((resolve) => {
    const timer = new Timer(writeTimeoutMs, () => {
      cut(new TimeoutError(writeTimeoutMs, { phase: 'read' }))
      response.destroy()
    })
    const go = () => {
      timer.stop()
      response.off('drain', go)
      response.off('close', go)
      resolve()
    }
    response.on('drain', go)
    response.on('close', go)
  })
}
