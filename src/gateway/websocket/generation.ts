import { randomUUID } from 'node:crypto'
import { Notes, now } from '../../core/index.js'
import type { GatewayCore } from '../gateway.js'
import type { Visitor } from '../options.js'
import { readPrompt } from '../routes/guide.js'
import type { RouteCall } from '../routes/route.js'
import type { Cuttable } from '../server/in-progress.js'
import { problemOf } from '../server/reply.js'
import { report } from '../server/request-log.js'
import { visitorHasLeft } from '../server/web.js'
import { errorMessage, type MessageId, withId } from './message.js'

/** The route, as the log names it. */
export const ROUTE = '/ws/generate'

/** On whose behalf a connection's generations are made. */
export interface Caller {
  readonly core: GatewayCore
  readonly visitor: Visitor
  /** The visitor's own key, where it is forwarded. */
  readonly apiKey: string | undefined
}

/** Where a generation's messages go. */
export interface Outlet {
  /**
   * Sends unless the connection is closing. Resolves when the message is with the system, or never
   * will be.
   */
  send(message: object): Promise<void>
  /** Whether the visitor reads more slowly than we send. */
  readonly isBehind: boolean
}

export interface Wanted {
  readonly type: 'generate' | 'stream'
  readonly id: MessageId | undefined
  readonly body: Readonly<Record<string, unknown>>
}

/** One generation of a connection, from its message to its last answer. */
export class Generation implements Cuttable {
  readonly id: MessageId | undefined
  readonly streams: boolean
  readonly #requestId = randomUUID()
  readonly #startedAt = now()
  readonly #leaving = new AbortController()
  readonly #meta = new Notes()
  readonly #body: Wanted['body']
  readonly #caller: Caller
  readonly #outlet: Outlet
  #firstTokenMs: number | undefined
  #isAnswered = false
  #wasCancelled = false
  #hasLeft = false

  constructor({ type, id, body }: Wanted, caller: Caller, outlet: Outlet) {
    this.id = id
    this.streams = type === 'stream'
    this.#body = body
    this.#caller = caller
    this.#outlet = outlet
  }

  /** Ends it for a reason of ours, which the visitor is told. */
  cut(reason: unknown): void {
    this.#leaving.abort(reason)
  }

  /** Ends it by the visitor's wish; false when it has been answered already. */
  cancel(): boolean {
    if (this.#isAnswered || this.#wasCancelled) return false
    this.#wasCancelled = true
    this.#leaving.abort(new DOMException('The visitor has cancelled.', 'AbortError'))
    return true
  }

  /** Ends it because nobody is there any more. */
  leave(): void {
    this.#hasLeft = true
    this.#leaving.abort(visitorHasLeft())
  }

  /** Resolves when the last answer is on its way; never rejects. */
  async run(): Promise<void> {
    const { core, visitor, apiKey } = this.#caller
    const { signal } = this.#leaving
    const entry = core.inProgress.begin(this)
    let answer: object
    let status = 200
    let error: unknown
    try {
      answer = await this.#generate({
        signal,
        meta: this.#meta,
        ...(visitor.tenant !== undefined && { tenant: visitor.tenant }),
        ...(visitor.priority !== undefined && { priority: visitor.priority }),
        ...(apiKey !== undefined && { apiKey }),
      })
    } catch (caught) {
      error = caught
      const { errorDetail } = core.options
      const problem = problemOf(error, {
        requestId: this.#requestId,
        errorDetail,
        visitorsKey: apiKey !== undefined,
      })
      // As over HTTP: what breaks after the first token has begun as a success.
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
        visitor,
        left: this.#hasLeft || this.#wasCancelled,
        error,
      },
      core,
    )
    // The place is kept until the answer is out, or a visitor who never reads could have any number
    // of answers wait for him.
    await this.#orEnd(this.#outlet.send(answer))
    entry.end()
  }

  async #generate(call: RouteCall['call']): Promise<object> {
    const { core } = this.#caller
    const { prompt, options } = await readPrompt(
      { json: async () => this.#body, call },
      core,
      'no-store',
    )
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

  /** Waits for a slow reader, but not beyond the generation's own end. */
  #orEnd(sent: Promise<void>): Promise<void> {
    const { signal } = this.#leaving
    // Its last answer is what an ended one waits for.
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
