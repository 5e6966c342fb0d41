import { now } from '../time/clock.js'
import type { AnswerReport, BaseFacts, TokenUsage } from '../traits.js'
import { runHook } from '../warn.js'
import { type AskedFacts, askedOf, nameIn } from './asked.js'
import { carried, carriers } from './carriers.js'
import type { EventUsage } from './index.js'
import { type Cancelled, type EndOf, type Outcome, outcomeOf } from './outcome.js'

/** What an attempt has found out about its answer. */
export interface AnsweredFacts {
  responseModel: string | undefined
  responseId: string | undefined
  finishReason: string | undefined
  usage: EventUsage | undefined
  cost: number | undefined
}

export const nothingYet = (): AnsweredFacts => ({
  responseModel: undefined,
  responseId: undefined,
  finishReason: undefined,
  usage: undefined,
  cost: undefined,
})

/** How an attempt has ended. */
export interface AttemptEnd extends AskedFacts, AnsweredFacts, Pick<Outcome, 'outcome' | 'code'> {
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
  /** What the call asks for: most attempts ask for the same. */
  readonly request: unknown
  readonly asked: AskedFacts
  attemptEnded(end: AttemptEnd): void
}

/** One call of the base: what it has been answered, and what it has cost. */
export class Attempt {
  readonly #owner: AttemptOwner
  readonly #request: unknown
  readonly #number: number
  readonly #member: number | undefined
  readonly #since = now()
  /** The status that upstream answered with. */
  status: number | undefined
  /** A call of another stack has been made in it, which reports what that has cost. */
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

  /** Runs the work of the attempt. */
  run<T>(work: () => T): T {
    return carriers.size === 0 ? work() : carried(this.#owner.id, this.#number, work)
  }

  /** It is sent. Returns headers to send along, names and values by turns. */
  sent(method: string, origin: string): readonly string[] {
    const headers: string[] = []
    const { id } = this.#owner
    for (const carrier of carriers)
      runHook('A tracer', () => {
        headers.push(...carrier.sent(id, this.#number, { method, origin }))
      })
    return headers
  }

  firstToken(): void {
    this.#firstTokenMs = now() - this.#since
  }

  /** The answer is there. */
  answered(answer: unknown): void {
    this.#look(answer, false)
  }

  /** A chunk of the stream is there. */
  see(chunk: unknown): void {
    this.#look(chunk, true)
  }

  end(ended: EndOf, cancel: Cancelled): void {
    const owner = this.#owner
    const { base } = owner
    const asked =
      this.#request === owner.request ? owner.asked : askedOf(base, this.#request, owner.tenant)
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
      // A base that knows nothing of its requests may still answer with a stream.
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

  /** At the answer, or a chunk of it: what it says later counts. */
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
      runHook('A tracer', () => carrier.came(id, this.#number, part, isChunk))
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

/** The tokens of both. */
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
