import type { Dispatcher } from 'undici'
import {
  type AbortListener,
  type Cancel,
  ConfigError,
  type Context,
  isStackError,
  type StackError,
} from '../core/index.js'
import { Agents } from './agents.js'
import { type Address, type ApiKey, readBaseURL } from './settings.js'
import type { BlossomAnswer } from './types.js'
import { CallNote } from './wire/call-note.js'
import { EitherHandler } from './wire/either-handler.js'
import { Exchange } from './wire/exchange.js'
import { networkFailure } from './wire/network-failure.js'
import type { Outgoing } from './wire/outgoing.js'

/** Where and how the client sends. */
export interface UpstreamSettings {
  readonly address: Address
  readonly apiKey: ApiKey | undefined
  /** Names and values that every request carries. */
  readonly headers: readonly string[]
  readonly maxResponseBytes: number
  readonly notices: 'error' | 'pass'
  /** The dispatcher passed by the user, which is never closed here. */
  readonly dispatcher: Dispatcher | undefined
}

/** The base of the client's stack: sends one request and returns its answer. */
export class Upstream {
  readonly #settings: UpstreamSettings
  readonly #agents: Agents

  constructor(settings: UpstreamSettings) {
    this.#settings = settings
    this.#agents = new Agents(settings.dispatcher)
  }

  send(request: Outgoing, context: Context): Promise<BlossomAnswer> {
    const { address, apiKey } = this.#settings
    const { transport } = context
    const target = transport?.baseURL === undefined ? address : readBaseURL(transport.baseURL)
    // The client's key is sent to its own address only. Pool members elsewhere need their own key.
    const key =
      request.key ?? transport?.apiKey ?? (target.origin === address.origin ? apiKey : undefined)
    if (typeof key !== 'function') return this.#send(request, context, target, key)
    return untilAborted(key(), context.cancel).then((given) =>
      this.#send(request, context, target, given),
    )
  }

  #send(
    request: Outgoing,
    context: Context,
    { origin, prefix }: Address,
    key: string | undefined,
  ): Promise<BlossomAnswer> {
    const { maxResponseBytes, notices } = this.#settings
    const note = noteOf(context)
    note.attempts++
    const settings = { maxResponseBytes, origin, apiKey: key, notices }
    const exchange = new Exchange(request, context, settings, note)
    if (!context.cancel.aborted) {
      const added = context.attempt?.sent(request.method, origin)
      const handler = this.#agents.isGiven ? new EitherHandler(exchange) : exchange
      try {
        const options = {
          origin,
          path: prefix + request.path,
          method: request.method as Dispatcher.HttpMethod,
          headers: this.#headers(key, request, added),
          body: bodyOf(request),
        }
        this.#agents.carrierOf(context.transport).dispatch(options, handler)
      } catch (error) {
        exchange.fail(isStackError(error) ? error : dispatchFailure(error, origin))
      }
    }
    const { upload } = request
    if (upload === undefined) return exchange.answer
    return exchange.answer.catch((error) => {
      throw upload.failed(error)
    })
  }

  async close(): Promise<void> {
    await this.#agents.close()
  }

  #headers(key: string | undefined, request: Outgoing, added: readonly string[] = []): string[] {
    const { headers } = this.#settings
    const all = key === undefined ? [...headers] : ['authorization', `Bearer ${key}`, ...headers]
    const { upload } = request
    if (request.payload !== undefined) all.push('content-type', 'application/json')
    if (upload !== undefined) all.push('content-type', upload.contentType)
    if (upload?.length !== undefined) all.push('content-length', String(upload.length))
    all.push(...request.headers, ...added)
    return all
  }
}

/** Awaits the value, or rejects as soon as the call is aborted. */
async function untilAborted<T>(value: Promise<T>, cancel: Cancel): Promise<T> {
  let listener: AbortListener | undefined
  const aborted = new Promise<never>((_, reject) => {
    listener = { abort: reject }
    cancel.add(listener)
  })
  try {
    return await Promise.race([value, aborted])
  } finally {
    cancel.remove(listener as AbortListener)
  }
}

/** The body to send. A stream of bytes is read only as fast as it is sent. */
function bodyOf({ payload, upload }: Outgoing): string | Buffer | null {
  // undici takes any iterable of bytes; its types name the most common ones.
  return payload ?? (upload?.take() as Buffer | undefined) ?? null
}

/** The error for a dispatcher that throws instead of calling the handler's `onError`. */
function dispatchFailure(error: unknown, origin: string): StackError {
  if ((error as { code?: unknown } | null)?.code !== 'UND_ERR_INVALID_ARG')
    return networkFailure(error, origin)
  return new ConfigError(
    'createBlossom: option "dispatcher" rejected the request. Pass a dispatcher from undici 6 or 7.',
  )
}

/** Key of the client's note in a call's `meta`. */
export const NOTE = 'client'

function noteOf(context: Context): CallNote {
  let note = context.meta.get(NOTE) as CallNote | undefined
  if (note === undefined) {
    note = new CallNote()
    context.meta.set(NOTE, note)
  }
  return note
}
