import { LRUCache } from 'lru-cache'
import {
  atOnce,
  BreakerOpenError,
  type Context,
  follow,
  type Handler,
  hookFailed,
  isOfOwnKey,
  type MaybePromise,
  runHook,
  type StreamEnd,
  TimeoutError,
} from '../../core/index.js'
import { type BreakerState, Circuit, type Permit } from './circuit.js'
import { isVerdict } from './verdict.js'

/** Circuits that are remembered when there is one for each key. */
const KEYS_KEPT = 1_000

export interface CircuitsOptions<Request> {
  name: string
  failureRate: number
  minimumCalls: number
  windowMs: number
  resetMs: number
  key: 'model' | ((request: Request, context: Context) => string) | undefined
  counts: ((error: unknown) => boolean) | undefined
  onStateChange: ((state: BreakerState, key: string | undefined) => void) | undefined
}

/** The circuits of one `breaker()`: which one a call goes through, and its verdict. */
export class Circuits<Request> {
  readonly #options: CircuitsOptions<Request>
  readonly #byKey = new LRUCache<string, Circuit>({
    max: KEYS_KEPT,
    dispose: (circuit) => circuit.close(),
  })
  /** The one for all, without a `key`. */
  readonly #only: Circuit | undefined
  readonly #stats = { successes: 0, failures: 0, rejected: 0, opened: 0 }

  constructor(options: CircuitsOptions<Request>) {
    this.#options = options
    this.#only = options.key === undefined ? this.#make(undefined) : undefined
  }

  /** Runs the call, unless its circuit is open. */
  run<R extends Request, Answer>(
    next: Handler<R, Answer>,
    request: R,
    context: Context,
  ): MaybePromise<Answer> {
    const circuit = this.#only ?? this.#circuitOf(request, context)
    const permit = circuit.enter(context.optional)
    if (typeof permit === 'number') {
      this.#stats.rejected++
      throw new BreakerOpenError(permit, { layer: this.#options.name })
    }
    return follow(next, request, context, new JudgedCall(this, circuit, permit, request, context))
  }

  #circuitOf(request: Request, context: Context): Circuit {
    const { key: by } = this.#options
    const key =
      by === 'model'
        ? (context.base.model?.(request) ?? '')
        : String(atOnce(by?.(request, context)))
    let circuit = this.#byKey.get(key)
    if (circuit === undefined) {
      circuit = this.#make(key)
      this.#byKey.set(key, circuit)
    }
    return circuit
  }

  #make(key: string | undefined): Circuit {
    const { failureRate, minimumCalls, windowMs, resetMs, name, onStateChange } = this.#options
    return new Circuit({
      failureRate,
      minimumCalls,
      windowMs,
      resetMs,
      onStateChange: (state, trace) => {
        if (state === 'open') this.#stats.opened++
        trace?.breaker(name, state)
        if (onStateChange) runHook('breaker: onStateChange()', () => onStateChange(state, key))
      },
    })
  }

  /** The verdict that the end of an answer gives; undefined when it is ignored. @internal */
  judge(
    { outcome, error }: StreamEnd,
    request: unknown,
    context: Context,
  ): 'success' | 'failure' | undefined {
    if (outcome === 'complete') {
      this.#stats.successes++
      return 'success'
    }
    if (outcome === 'left' || isOfOwnKey(error, request, context)) return undefined
    if (!this.#counts(error, context)) return undefined
    this.#stats.failures++
    return 'failure'
  }

  #counts(error: unknown, { cancel }: Context): boolean {
    // An abort from outside is ignored, except a time limit further out: upstream was too slow.
    if (cancel.aborted && !(cancel.reason instanceof TimeoutError)) return false
    const { counts } = this.#options
    if (counts === undefined) return isVerdict(error)
    try {
      return atOnce(counts(error))
    } catch (thrown) {
      hookFailed('breaker: counts()', thrown)
      return isVerdict(error)
    }
  }

  stats() {
    let open = 0
    let halfOpen = 0
    let total = 0
    for (const circuit of this.#only === undefined ? this.#byKey.values() : [this.#only]) {
      if (!circuit.isActive) continue
      total++
      if (circuit.state === 'open') open++
      else if (circuit.state === 'half-open') halfOpen++
    }
    const state: BreakerState = open > 0 ? 'open' : halfOpen > 0 ? 'half-open' : 'closed'
    return { state, ...this.#stats, circuits: { open, halfOpen, total } }
  }

  close(): void {
    this.#only?.close()
    this.#byKey.clear()
  }
}

/** A call that was let through, until the verdict on it. */
class JudgedCall<Request> {
  readonly #circuits: Circuits<Request>
  readonly #circuit: Circuit
  readonly #permit: Permit
  readonly #request: unknown
  readonly #context: Context

  constructor(
    circuits: Circuits<Request>,
    circuit: Circuit,
    permit: Permit,
    request: Request,
    context: Context,
  ) {
    this.#circuits = circuits
    this.#circuit = circuit
    this.#permit = permit
    this.#request = request
    this.#context = context
  }

  ended(end: StreamEnd): void {
    const verdict = this.#circuits.judge(end, this.#request, this.#context)
    this.#circuit.settle(this.#permit, verdict, this.#context.trace)
  }
}
