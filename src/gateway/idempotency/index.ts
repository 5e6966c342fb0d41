import { digest, now, stableKey, ValidationError } from '../../core/index.js'
import { rejection } from '../rejection.js'
import type { RouteCall } from '../routes/route.js'
import type { Reply } from '../server/message.js'
import { KeptReplies, type KeptReply } from './kept-replies.js'
import { RecordedEvents } from './recorded-events.js'

/** How long an answer is stored. Milliseconds. */
const KEPT_MS = 24 * 3_600_000

/** Valid values of the header. */
const KEY = /^[\x21-\x7e]{1,255}$/

/** A running request with a key. */
interface Running {
  readonly body: string
  /** Resolves with the answer, or with `undefined` if it is not stored. */
  readonly ended: Promise<KeptReply | undefined>
}

/** A request with a key. */
export interface KeyedRequest {
  readonly key: string
  /** Path of its route. */
  readonly route: string
  readonly call: RouteCall['call']
  readonly body: Readonly<Record<string, unknown>>
  /**
   * Whether the stack has a `dedupe` layer, which lets an identical stream join the running one.
   */
  readonly joins: boolean
}

/**
 * Lets clients repeat a request without paying twice: a request with the same key, caller and body
 * gets the same answer, even while the first one is running. Failures are not stored, so they can
 * be retried.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 */
export class Idempotency {
  readonly #running = new Map<string, Running>()
  readonly #kept = new KeptReplies()

  /**
   * Runs a request, or returns the stored answer of an identical one.
   * @throws ValidationError if the key is invalid, or with status 409 if it was used with another
   * body
   */
  async run(request: KeyedRequest, handle: () => Promise<Reply>): Promise<Reply> {
    if (!KEY.test(request.key))
      throw new ValidationError('Idempotency-Key must be 1 to 255 printable ASCII characters.')
    const { tenant = '', apiKey = '', signal } = request.call
    const id = digest(request.route, tenant, apiKey, request.key)
    const body = digest(stableKey(request.body) ?? '')
    for (;;) {
      const kept = this.#kept.get(id, now())
      if (kept !== undefined) return replay(sameBody(kept, body))
      const running = this.#running.get(id)
      if (running === undefined) return this.#begin(id, body, handle)
      sameBody(running, body)
      // The `dedupe` layer replays the pieces so far, so there is no need to wait for the end.
      if (request.body.stream === true && request.joins) return handle()
      await untilAborted(running.ended, signal)
    }
  }

  /** Deletes all stored answers. */
  clear(): void {
    this.#kept.clear()
  }

  async #begin(id: string, body: string, handle: () => Promise<Reply>): Promise<Reply> {
    let end = (_: KeptReply | undefined): void => {}
    const ended = new Promise<KeptReply | undefined>((resolve) => {
      end = resolve
    })
    this.#running.set(id, { body, ended })
    const finish = (answer: Omit<KeptReply, 'body' | 'until'> | undefined) => {
      const kept = answer && { ...answer, body, until: now() + KEPT_MS }
      this.#running.delete(id)
      if (kept !== undefined) this.#kept.add(id, kept)
      end(kept)
    }
    try {
      return record(await handle(), finish)
    } catch (error) {
      finish(undefined)
      throw error
    }
  }
}

/**
 * Passes the reply's content to `finish` if it is complete and successful, otherwise `undefined`.
 */
function record(
  reply: Reply,
  finish: (answer: Omit<KeptReply, 'body' | 'until'> | undefined) => void,
): Reply {
  const { status, body, events } = reply
  const type = reply.headers['content-type'] ?? ''
  if (events !== undefined) {
    const recorded = new RecordedEvents(events, (text) =>
      finish(text === undefined ? undefined : { type, content: text }),
    )
    return { ...reply, events: recorded }
  }
  finish(status === 200 && body !== undefined ? { type, content: body } : undefined)
  return reply
}

function sameBody<T extends { readonly body: string }>(before: T, body: string): T {
  if (before.body === body) return before
  throw rejection(
    'VALIDATION',
    409,
    'This Idempotency-Key was already used with another body. Use a new key.',
  )
}

const replay = ({ type, content }: KeptReply): Reply => ({
  status: 200,
  headers: { 'content-type': type, 'x-cache': 'HIT' },
  body: content,
})

/** Waits, or rejects if the request is aborted. */
function untilAborted(ended: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason)
    if (signal.aborted) return leave()
    signal.addEventListener('abort', leave, { once: true })
    ended.then(() => {
      signal.removeEventListener('abort', leave)
      resolve()
    })
  })
}
