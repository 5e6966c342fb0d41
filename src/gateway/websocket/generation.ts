import { randomUUID } from 'node:crypto'
import { Notes, now } from '../../core/index.js'
import type { Caller } from '../caller.js'
import type { GatewayCore } from '../gateway.js'
import { textOptions } from '../routes/guide.js'
import type { RouteCall } from '../routes/route.js'
import type { MessageId, SocketMessage } from '../schemas.js'
import type { Cuttable } from '../server/in-progress.js'
import { problemOf } from '../server/reply.js'
import { report } from '../server/request-log.js'
import { clientHasLeft } from '../server/web.js'
import { errorMessage, withId } from './message.js'

/** The route's name in the log. */
export const ROUTE = '/ws/generate'

/** State that the generations of one connection share. */
export interface Connection {
  readonly core: GatewayCore
  readonly caller: Caller
  /** The caller's own key, if keys are forwarded. */
  readonly apiKey: string | undefined
}

/** Receives the messages of a generation. */
export interface Outlet {
  /** Sends unless the connection is closing. Resolves once the message is written or dropped. */
  send(message: object): Promise<void>
  /** Whether the client reads more slowly than the server sends. */
  readonly isBehind: boolean
}

export type GenerationMessage = Extract<SocketMessage, { type: 'generate' | 'stream' }>

/** One generation of a connection, from the request message to the last answer. */
export class Generation implements Cuttable {
  readonly id: MessageId | undefined
  readonly streams: boolean
  readonly #requestId = randomUUID()
  readonly #startedAt = now()
  readonly #leaving = new AbortController()
  readonly #meta = new Notes()
  readonly #message: GenerationMessage
  readonly #connection: Connection
  readonly #outlet: Outlet
  #firstTokenMs: number | undefined
  #isAnswered = false
  #wasCancelled = false
  #hasLeft = false

  constructor(message: GenerationMessage, connection: Connection, outlet: Outlet) {
    this.id = message.id
    this.streams = message.type === 'stream'
    this.#message = message
    this.#connection = connection
    this.#outlet = outlet
  }

  /** Aborts the generation for a reason of the server, which is sent to the client. */
  cut(reason: unknown): void {
    this.#leaving.abort(reason)
  }

  /**
   * Aborts the generation at the client's request. Returns false if it has already been answered.
   */
  cancel(): boolean {
    if (this.#isAnswered || this.#wasCancelled) return false
    this.#wasCancelled = true
    this.#leaving.abort(new DOMException('The client has cancelled.', 'AbortError'))
    return true
  }

  /** Aborts the generation because the client has disconnected. */
  leave(): void {
    this.#hasLeft = true
    this.#leaving.abort(clientHasLeft())
  }

  /** Runs the generation. Resolves when the last answer is being sent; never rejects. */
  async run(): Promise<void> {
    const { core, caller, apiKey } = this.#connection
    const { signal } = this.#leaving
    const entry = core.inProgress.begin(this)
    let answer: object
    let status = 200
    let error: unknown
    try {
      answer = await this.#generate({
        signal,
        meta: this.#meta,
        ...(caller.tenant !== undefined && { tenant: caller.tenant }),
        ...(caller.priority !== undefined && { priority: caller.priority }),
        ...(apiKey !== undefined && { apiKey }),
      })
    } catch (caught) {
      error = caught
      const { errorDetail } = core.options
      const problem = problemOf(error, {
        requestId: this.#requestId,
        errorDetail,
        usesCallersKey: apiKey !== undefined,
      })
      // As over HTTP, a failure after the first token does not change the status.
      if (this.#firstTokenMs === undefined) status = problem.status
      answer = errorMessage(problem, this.id)
    }
    this.#isAnswered = true
    if (this.#wasCancelled) answer = withId({ type: 'cancelled' }, this.id)
    report(
      {
        requestId: this.#requestId,
        method: 'WS',
        route: ROUTE,
        status,
        startedAt: this.#startedAt,
        firstTokenMs: this.#firstTokenMs,
        meta: this.#meta,
        caller,
        left: this.#hasLeft || this.#wasCancelled,
        error,
      },
      core,
    )
    // Keep the slot until the answer is sent. Otherwise a client that never reads could accumulate
    // any number of answers.
    await this.#orEnd(this.#outlet.send(answer))
    entry.end()
  }

  async #generate(call: RouteCall['call']): Promise<object> {
    const { core } = this.#connection
    const { prompt } = this.#message
    const options = { ...textOptions(this.#message, call, core), cache: 'no-store' as const }
    if (!this.streams) {
      const { text } = await core.blossom.text.generate(prompt, options)
      return withId({ type: 'result', text }, this.id)
    }
    const stream = await core.blossom.text.stream(prompt, options)
    this.#firstTokenMs = now() - this.#startedAt
    for await (const { text } of stream) {
      const sent = this.#outlet.send(withId({ type: 'delta', text }, this.id))
      if (this.#outlet.isBehind) await this.#orEnd(sent)
    }
    const { finishReason = null, usage } = stream
    return withId(
      {
        type: 'done',
        finish_reason: finishReason,
        usage: usage
          ? {
              prompt_tokens: usage.promptTokens,
              completion_tokens: usage.completionTokens,
              total_tokens: usage.totalTokens,
            }
          : null,
      },
      this.id,
    )
  }

  /** Waits until a slow client has read the message, or the generation is aborted. */
  #orEnd(sent: Promise<void>): Promise<void> {
    const { signal } = this.#leaving
    // An aborted generation waits only for its last message.
    if (signal.aborted) return sent
    return new Promise((resolve) => {
      const settle = () => {
        signal.removeEventListener('abort', settle)
        resolve()
      }
      signal.addEventListener('abort', settle)
      void sent.then(settle)
    })
  }
}
