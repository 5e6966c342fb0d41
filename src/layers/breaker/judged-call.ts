import { type Context, type Handler, now, proceed, type StreamEnd } from '../../core/index.js'
import type { Circuit } from './circuit.js'
import type { Permit } from './trials.js'

/** What gives the verdicts: the circuits of a breaker. */
interface Judge {
  judge(
    end: StreamEnd,
    request: unknown,
    context: Context,
    isSlow: boolean,
  ): 'success' | 'failure' | undefined
}

/** A call that was let through, until the verdict on it. */
export class JudgedCall {
  readonly #judge: Judge
  readonly #circuit: Circuit
  readonly #permit: Permit
  readonly #request: unknown
  readonly #context: Context
  readonly #slowMs: number
  /** The moment from which on it is slow. */
  #slowAt = Number.POSITIVE_INFINITY
  /** When its answer was there: of a stream, its commit. */
  #answeredAt: number | undefined

  constructor(
    judge: Judge,
    circuit: Circuit,
    permit: Permit,
    request: unknown,
    context: Context,
    slowMs: number,
  ) {
    this.#judge = judge
    this.#circuit = circuit
    this.#permit = permit
    this.#request = request
    this.#context = context
    this.#slowMs = slowMs
  }

  /** The same handler, with a look at the clock where slow calls count. */
  timed<Request, Answer>(next: Handler<Request, Answer>): Handler<Request, Answer> {
    if (this.#slowMs === Number.POSITIVE_INFINITY) return next
    this.#slowAt = now() + this.#slowMs
    return (request, context) =>
      proceed(next(request, context), (answer) => {
        this.#answeredAt = now()
        return answer
      }) as ReturnType<typeof next>
  }

  ended(end: StreamEnd): void {
    const isSlow =
      this.#slowAt !== Number.POSITIVE_INFINITY && (this.#answeredAt ?? now()) > this.#slowAt
    const verdict = this.#judge.judge(end, this.#request, this.#context, isSlow)
    this.#circuit.settle(this.#permit, verdict, isSlow, this.#context.trace)
  }
}
