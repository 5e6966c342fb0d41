import {
  ConfigError,
  check,
  hookFailed,
  IdleTimer,
  NOTHING,
  type Nothing,
  rules,
  View,
} from '../core/index.js'
import { frame, type ServerSentEvent } from './event-frame.js'
import { toErrorFields } from './problem.js'
import { flagRule, isAbort, open, signalRule } from './source.js'

/** Options of `toServerSentEvents()`. */
export interface ServerSentEventsOptions<Chunk = unknown> {
  /**
   * Returns an event's data; `undefined` leaves the chunk out.
   * @default strings unchanged, everything else as JSON
   */
  data?: ((chunk: Chunk, index: number) => string | undefined) | undefined
  /**
   * Returns an event's name. It must come from your code, never from a model or a client.
   * @default none, which browsers call `message`
   */
  event?: ((chunk: Chunk, index: number) => string | undefined) | undefined
  /** Returns an event's id. It must come from your code too. @default none */
  id?: ((chunk: Chunk, index: number) => string | undefined) | undefined
  /**
   * Uses the index of each chunk as the event's id: 0, 1, 2 and so on. Not together with `id`.
   * @default false
   */
  ids?: boolean | undefined
  /**
   * The `Last-Event-ID` header of a client that reconnects. Events up to and including this one are
   * skipped. The source must produce the same chunks again, and `ids` must be true. Anything but
   * such a number is ignored.
   * @default the whole stream
   */
  lastEventId?: string | null | undefined
  /**
   * Sends a comment after this much silence, so that proxies keep the connection open.
   * Milliseconds; 0 or `false` for none.
   * @default 15000
   */
  heartbeatMs?: number | false | undefined
  /** How long a browser waits before it reconnects. Milliseconds. @default the browser's own */
  retryMs?: number | undefined
  /**
   * Data of the last event after a complete stream; `false` for no such event. @default '[DONE]'
   */
  done?: string | false | undefined
  /**
   * Returns the last event after a failure of the stream; `event` is the default. Return
   * `undefined` for no event. Log the failure here.
   * @default the error event: `error`, with the data `[ERROR] {"code", "message", "requestId"}` and
   * a message that is safe to show
   */
  error?: ((error: unknown, event: ServerSentEvent) => ServerSentEvent | undefined) | undefined
  /** Your own id of the request, for the default error event. @default none */
  requestId?: string | undefined
  /**
   * The signal that was passed to the source. Errors after its abort are not sent.
   * @default none
   */
  signal?: AbortSignal | undefined
}

/**
 * Headers for a response that streams events. `no-transform` prevents compression from delaying
 * events, and `x-accel-buffering` prevents nginx from buffering them.
 */
export const sseHeaders: Readonly<
  Record<'content-type' | 'cache-control' | 'x-accel-buffering', string>
> = Object.freeze({
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
})

const SUBJECT = 'toServerSentEvents'
const KEEP_ALIVE = ': keep-alive\n\n'

const optionRules = {
  data: rules.callback<(chunk: never, index: number) => string | undefined>(),
  event: rules.callback<(chunk: never, index: number) => string | undefined>(),
  id: rules.callback<(chunk: never, index: number) => string | undefined>(),
  ids: flagRule,
  lastEventId: rules.custom<string | null, undefined>(
    'a string',
    undefined,
    (value) => value === null || typeof value === 'string',
  ),
  heartbeatMs: rules.custom<number | false, number>(
    'a duration in milliseconds of at most 2147483647, or false',
    15_000,
    (value) => value === false || (typeof value === 'number' && value >= 0 && value < 2 ** 31),
  ),
  retryMs: rules.integer(undefined, { min: 0 }),
  done: rules.custom<string | false, string>(
    'a string, or false',
    '[DONE]',
    (value) => value === false || typeof value === 'string',
  ),
  error: rules.callback<(error: unknown, event: ServerSentEvent) => ServerSentEvent | undefined>(),
  requestId: rules.text(undefined),
  signal: signalRule,
}

/**
 * Converts a stream to Server-Sent Events, one string per complete event.
 *
 * When the source fails, the failure becomes the last event and the events end normally, without
 * `[DONE]`. When the caller aborts, they just end. When the reader stops, the source is closed
 * immediately.
 *
 * If the chunks are plain strings of model text, which may itself be `[DONE]`, use `done: false` or
 * wrap the strings as `{ text }`. The pieces of `text.stream()` are already wrapped.
 *
 * @throws {ConfigError} (`CONFIG`) for an invalid option, or a source that is not a stream
 * @example
 * // Express, Koa's ctx.res, node:http
 * response.writeHead(200, sseHeaders)
 * await pipeline(toNodeReadable(toServerSentEvents(await blossom.text.stream(prompt))), response)
 * // Hono and everything web-standard
 * return new Response(toWebStream(toServerSentEvents(await blossom.text.stream(prompt))), { headers: sseHeaders })
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export function toServerSentEvents<Chunk>(
  source: AsyncIterable<Chunk>,
  options?: ServerSentEventsOptions<Chunk>,
): AsyncGenerator<string, undefined, undefined> {
  return new Events(source, options)
}

class Events<Chunk> extends View<Chunk, string> {
  readonly #options: ReturnType<typeof checked<Chunk>>
  /** Index of the last event that the client has already received. */
  readonly #seen: number
  #index = 0
  #timer: IdleTimer | undefined
  /** Whether the reader waits for the source. */
  #isWaiting = false

  constructor(source: AsyncIterable<Chunk>, options: ServerSentEventsOptions<Chunk> | undefined) {
    const known = checked(options)
    super(open(SUBJECT, source))
    this.#options = known
    this.#seen = /^\d{1,15}$/.test(known.lastEventId ?? '') ? Number(known.lastEventId) : -1
    if (known.retryMs !== undefined) this.emit(`retry: ${known.retryMs}\n\n`)
  }

  protected map(chunk: Chunk): string | Nothing {
    const index = this.#index++
    if (index <= this.#seen) return NOTHING
    const { data, event, id, ids } = this.#options
    const text = data === undefined ? plain(chunk) : data(chunk, index)
    if (text === undefined) return NOTHING
    const named = ids ? String(index) : id?.(chunk, index)
    return frame({ data: text, id: named, event: event?.(chunk, index) })
  }

  protected override completed(): string | Nothing {
    const { done } = this.#options
    // If another reader has left the shared stream, it ends here without an error but is
    // incomplete.
    const outcome = this.ended?.outcome ?? 'complete'
    return outcome === 'complete' && typeof done === 'string' ? frame({ data: done }) : NOTHING
  }

  protected override failed(error: unknown): string | Nothing {
    const { requestId, signal, error: shape } = this.#options
    if (isAbort(error, signal)) return NOTHING
    const usual: ServerSentEvent = {
      event: 'error',
      data: `[ERROR] ${JSON.stringify(toErrorFields(error, requestId))}`,
    }
    if (shape === undefined) return frame(usual)
    try {
      const event = shape(error, { ...usual })
      return event === undefined ? NOTHING : frame(event)
    } catch (thrown) {
      hookFailed('toServerSentEvents: error()', thrown)
      return frame(usual)
    }
  }

  override read(): string | Nothing {
    const event = super.read()
    if (event !== NOTHING) this.#isWaiting = false
    return event
  }

  override ask(): void {
    super.ask()
    const { heartbeatMs } = this.#options
    if (!heartbeatMs || this.isOver || this.#isWaiting) return
    this.#isWaiting = true
    // One timer per stream, restarted at each wait. A new timer per chunk would cost more than the
    // chunk.
    if (this.#timer === undefined) this.#timer = new IdleTimer(heartbeatMs, () => this.#beat())
    else this.#timer.restart()
  }

  protected override closed(): void {
    this.#timer?.stop()
  }

  #beat(): void {
    if (this.#isWaiting) return this.emit(KEEP_ALIVE)
    // No timer is kept for a reader that may never ask again.
    this.#timer?.stop()
    this.#timer = undefined
  }
}

function checked<Chunk>(options: ServerSentEventsOptions<Chunk> | undefined) {
  const known = check(SUBJECT, options, optionRules) as Required<ServerSentEventsOptions<Chunk>>
  const fail = (sentence: string) => new ConfigError(`${SUBJECT}: ${sentence}`, { layer: SUBJECT })
  if (known.ids && known.id !== undefined)
    throw fail('use either option "ids" or option "id", not both.')
  if (!known.ids && typeof known.lastEventId === 'string')
    throw fail('option "lastEventId" requires "ids: true".')
  return known
}

function plain(chunk: unknown): string {
  return typeof chunk === 'string' ? chunk : (JSON.stringify(chunk) ?? 'null')
}
