import { type Context, type Follower, now, type StreamEnd } from '../../core/index.js'
import type { Circuit } from './circuit.js'
import type { Permit } from './trials.js'

/** Gives verdicts: the circuits of a breaker. */
interface Judge {
  judge(
    end: StreamEnd,
    request: unknown,
    context: Context,
    isSlow: boolean,
  ): 'success' | 'failure' | undefined
}

/** A call that was let through, until its verdict. */
export class JudgedCall implements Follower {
  readonly #judge: Judge
  readonly #circuit: Circuit
  readonly #permit: Permit
  readonly #request: unknown
  readonly #context: Context
  /** When the answer becomes slow. */
  readonly #slowAt: number
  /** Whether the answer was slow; undefined before it arrives. */
  #isSlow: boolean | undefined

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
    this.#slowAt = slowMs === Number.POSITIVE_INFINITY ? slowMs : now() + slowMs
  }

  answered<Answer>(answer: Answer): Answer {
    this.#isSlow = this.#isLate
    return answer
  }

  ended(end: StreamEnd): void {
    const isSlow = this.#isSlow ?? this.#isLate
    const verdict = this.#judge.judge(end, this.#request, this.#context, isSlow)
    this.#circuit.settle(this.#permit, verdict, isSlow, this.#context.trace)
  }

  get #isLate(): boolean {
    return this.#slowAt !== Number.POSITIVE_INFINITY && now() > this.#slowAt
  }
}
