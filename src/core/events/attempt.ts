import { now } from '../time/clock.js'
import type { AnswerReport, BaseFacts, TokenUsage } from '../traits.js'
import { runHook } from '../warn.js'
import { nameIn, type RequestInfo, requestInfoOf } from './asked.js'
import { carried, carriers } from './carriers.js'
import type { EventUsage } from './index.js'
import { type Cancelled, type EndOf, type Outcome, outcomeOf } from './outcome.js'

/** What an attempt has learned about its answer. */
export interface AnswerInfo {
  responseModel: string | undefined
  responseId: string | undefined
  finishReason: string | undefined
  usage: EventUsage | undefined
  cost: number | undefined
}

export const noAnswerYet = (): AnswerInfo => ({
  responseModel: undefined,
  responseId: undefined,
  finishReason: undefined,
  usage: undefined,
  cost: undefined,
})

/** The end of an attempt. */
export interface AttemptEnd extends RequestInfo, AnswerInfo, Pick<Outcome, 'outcome' | 'code'> {
  readonly attempt: number
  readonly member: number | undefined
  readonly status: number | undefined
  readonly firstTokenMs: number | undefined
  readonly durationMs: number
  readonly nested: true | undefined
}

/** The call that an attempt belongs to. */
export interface AttemptOwner {
  readonly id: string
  readonly base: BaseFacts
  readonly tenant: string | undefined
  /** The request of the call. Most attempts send the same one. */
  readonly request: unknown
  readonly asked: RequestInfo
  attemptEnded(end: AttemptEnd): void
}

/** One call of the base: what it answered and what it cost. */
export class Attempt {
  readonly #owner: AttemptOwner
  readonly #request: unknown
  readonly #number: number
  readonly #member: number | undefined
  readonly #since = now()
  /** HTTP status of upstream's response. */
  status: number | undefined
  /** Whether the attempt was a call of another stack. That call reports the usage itself. */
  isNested = false
  #firstTokenMs: number | undefined
  #usage: TokenUsage | undefined
  #report: { -readonly [Name in keyof AnswerReport]: AnswerReport[Name] } = {}

  constructor(owner: AttemptOwner, request: unknown, number: number, member: number | undefined) {
    this.#owner = owner
    this.#request = request
    this.#number = number
    this.#member = member
  }

  get number(): number {
    return this.#number
  }

  /** Runs the attempt's work in the contexts of all tracers. */
  run<T>(work: () => T): T {
    return carriers.size === 0 ? work() : carried(this.#owner.id, this.#number, work)
  }

  /** Called when the request is sent. Returns headers to add, as alternating names and values. */
  sent(method: string, origin: string): readonly string[] {
    const headers: string[] = []
    const { id } = this.#owner
    for (const carrier of carriers)
      runHook('A tracing hook', () => {
        headers.push(...carrier.sent(id, this.#number, { method, origin }))
      })
    return headers
  }

  firstToken(): void {
    this.#firstTokenMs = now() - this.#since
  }

  /** Called with a complete answer. */
  answered(answer: unknown): void {
    this.#look(answer, false)
  }

  /** Called with each chunk of a stream. */
  see(chunk: unknown): void {
    this.#look(chunk, true)
  }

  end(ended: EndOf, cancel: Cancelled): void {
    const owner = this.#owner
    const { base } = owner
    const asked =
      this.#request === owner.request
        ? owner.asked
        : requestInfoOf(base, this.#request, owner.tenant)
    const { id, model, finishReason } = this.#report
    const usage = this.isNested ? undefined : this.#usage
    const { outcome, code } = outcomeOf(ended, cancel)
    owner.attemptEnded({
      attempt: this.#number,
      member: this.#member,
      outcome,
      code,
      operation: asked.operation,
      model: asked.model,
      // A base without the `streams` trait may still return a stream.
      stream: asked.stream ?? (this.#firstTokenMs === undefined ? undefined : true),
      tenant: asked.tenant,
      responseModel: model,
      responseId: id,
      finishReason,
      usage: usage && eventUsage(usage),
      cost: usage && amountIn(base.price(asked.model ?? '', usage)),
      status: this.status,
      firstTokenMs: this.#firstTokenMs,
      durationMs: now() - this.#since,
      nested: this.isNested || undefined,
    })
  }

  /** Reads usage and report from an answer or chunk. Later values replace earlier ones. */
  #look(part: unknown, isChunk: boolean): void {
    const { base, id } = this.#owner
    const usage = base.usage(part)
    if (isAmount(usage?.input) && isAmount(usage?.output)) this.#usage = usage
    const said = base.reports(part)
    if (said !== undefined) {
      const report = this.#report
      report.id = nameIn(said.id) ?? report.id
      report.model = nameIn(said.model) ?? report.model
      report.finishReason = nameIn(said.finishReason) ?? report.finishReason
    }
    for (const carrier of carriers)
      runHook('A tracing hook', () => carrier.came(id, this.#number, part, isChunk))
  }
}

const isAmount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0

const amountIn = (value: unknown): number | undefined => (isAmount(value) ? value : undefined)

function eventUsage({ input, output, cachedInput, reasoning }: TokenUsage): EventUsage {
  return Object.freeze({
    input,
    output,
    ...(isAmount(cachedInput) && { cached: cachedInput }),
    ...(isAmount(reasoning) && { reasoning }),
  })
}

/** Adds two token counts. */
export function addUsage(a: EventUsage | undefined, b: EventUsage | undefined) {
  if (a === undefined || b === undefined) return a ?? b
  const { cached, reasoning } = a
  return eventUsage({
    input: a.input + b.input,
    output: a.output + b.output,
    cachedInput: cached === undefined ? b.cached : cached + (b.cached ?? 0),
    reasoning: reasoning === undefined ? b.reasoning : reasoning + (b.reasoning ?? 0),
  })
}
