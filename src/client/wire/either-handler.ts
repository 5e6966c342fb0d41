import type { Dispatcher } from 'undici'
import type { Exchange } from './exchange.js'
import type { Headers } from './failure.js'

type Controller = Dispatcher.DispatchController

/**
 * Adapts an exchange to the user's own dispatcher, which may call the handler methods of undici 7
 * or those of undici 6, the version built into Node 20 and 22.
 * @see https://github.com/nodejs/undici/blob/v6.x/docs/docs/api/Dispatcher.md
 */
export class EitherHandler implements Dispatcher.DispatchHandler {
  readonly #exchange: Exchange
  #old: OldController | undefined

  constructor(exchange: Exchange) {
    this.#exchange = exchange
  }

  // From undici 7.

  onRequestStart(controller: Controller): void {
    this.#exchange.onRequestStart(controller)
  }

  onResponseStart(controller: Controller, status: number, headers: Headers): void {
    this.#exchange.onResponseStart(controller, status, headers)
  }

  onResponseData(controller: Controller, bytes: Buffer): void {
    this.#exchange.onResponseData(controller, bytes)
  }

  onResponseEnd(): void {
    this.#exchange.onResponseEnd()
  }

  onResponseError(controller: Controller, error: unknown): void {
    this.#exchange.onResponseError(controller, error)
  }

  // From undici 6.

  onConnect(abort: (reason?: Error) => void): void {
    this.#old = new OldController(abort)
    this.#exchange.onRequestStart(this.#old)
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    const controller = this.#old as OldController
    controller.goOn = resume
    this.#exchange.onResponseStart(controller, status, headersOf(headers))
    return !controller.paused
  }

  onData(bytes: Buffer): boolean {
    const controller = this.#old as OldController
    this.#exchange.onResponseData(controller, bytes)
    return !controller.paused
  }

  onComplete(): void {
    this.#exchange.onResponseEnd()
  }

  onError(error: Error): void {
    // If connecting failed there is no controller, and the exchange does not use it for errors.
    this.#exchange.onResponseError(this.#old as unknown as Controller, error)
  }
}

/** The controller of undici 7, implemented with the callbacks of undici 6. */
class OldController implements Controller {
  paused = false
  aborted = false
  reason: Error | null = null
  goOn: (() => void) | undefined
  readonly #abort: (reason?: Error) => void

  constructor(abort: (reason?: Error) => void) {
    this.#abort = abort
  }

  abort(reason: Error): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    this.#abort(reason)
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.goOn?.()
  }
}

/** Converts alternating names and values to an object; repeated names get a list of values. */
function headersOf(raw: readonly Buffer[]): Headers {
  const headers: Record<string, string | string[]> = Object.create(null)
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = String(raw[i]).toLowerCase()
    const value = raw[i + 1]?.toString('latin1') ?? ''
    const before = headers[name]
    headers[name] = before === undefined ? value : [before, value].flat()
  }
  return headers
}
