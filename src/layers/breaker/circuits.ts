import { LRUCache } from 'lru-cache'
import {
  atOnce,
  BreakerOpenError,
  ConfigError,
  type Context,
  follow,
  type Handler,
  hookFailed,
  isOfOwnKey,
  type MaybePromise,
  runHook,
  type SharedCircuits,
  type StreamEnd,
  TimeoutError,
} from '../../core/index.js'
import { type BreakerState, Circuit } from './circuit.js'
import { Isolation } from './isolation.js'
import { JudgedCall } from './judged-call.js'
import type { Rates } from './rates.js'
import { type BreakerSnapshot, type CircuitSnapshot, exported, imported } from './snapshot.js'
import type { Permit } from './trials.js'
import { isVerdict } from './verdict.js'

/** How many circuits are kept when each key has its own. */
const KEYS_KEPT = 1_000

export interface CircuitsOptions<Request> extends Rates {
  name: string
  minimumCalls: number
  windowMs: number
  trials: number
  /** Answers slower than this are slow; `Infinity` for none. Milliseconds. */
  slowMs: number
  resetMs(openings: number): number
  key: 'model' | ((request: Request, context: Context) => string) | undefined
  counts: ((error: unknown) => boolean) | undefined
  shared: SharedCircuits | undefined
  onStateChange: ((state: BreakerState, key: string | undefined) => void) | undefined
}

/** The circuits of one `breaker()`: selects a call's circuit and judges its answer. */
export class Circuits<Request> {
  readonly #options: CircuitsOptions<Request>
  readonly #byKey = new LRUCache<string, Circuit>({
    max: KEYS_KEPT,
    dispose: (circuit) => circuit.close(),
  })
  /** The only circuit, without the option `key`. */
  readonly #only: Circuit | undefined
  /** Kept separately, so that a key stays isolated even when its circuit is evicted. */
  readonly #isolation = new Isolation()
  readonly #stats = { successes: 0, failures: 0, slow: 0, rejected: 0, opened: 0, heard: 0 }

  constructor(options: CircuitsOptions<Request>) {
    this.#options = options
    this.#only = options.key === undefined ? this.#make(undefined) : undefined
  }

  /** Runs a call, unless its circuit is open. */
  run<R extends Request, Answer>(
    next: Handler<R, Answer>,
    request: R,
    context: Context,
  ): MaybePromise<Answer> {
    const circuit = this.#only ?? this.#circuitOf(request, context)
    circuit.meet(context.trace)
    const permit = circuit.enter(context.optional)
    return typeof permit !== 'number' && circuit.mustAsk(permit)
      ? this.#runAsking(next, request, context, circuit, permit)
      : this.#go(next, request, context, circuit, permit)
  }

  /** Runs a trial, unless another process has it. */
  async #runAsking<R extends Request, Answer>(
    next: Handler<R, Answer>,
    request: R,
    context: Context,
    circuit: Circuit,
    asked: Permit,
  ): Promise<Answer> {
    const permit = await circuit.ask(asked)
    if (typeof permit !== 'number') {
      if (context.cancel.aborted) circuit.settle(permit, undefined)
      context.cancel.throwIfAborted()
      if (permit.alone) this.#noteAlone(context)
    }
    return this.#go(next, request, context, circuit, permit)
  }

  #noteAlone({ meta, trace }: Context): void {
    const { name } = this.#options
    meta.set(name, { alone: true })
    trace?.alone(name)
  }

  #go<R extends Request, Answer>(
    next: Handler<R, Answer>,
    request: R,
    context: Context,
    circuit: Circuit,
    permit: Permit | number,
  ): MaybePromise<Answer> {
    const { name, slowMs } = this.#options
    if (typeof permit === 'number') {
      this.#stats.rejected++
      const retryAfter = Number.isFinite(permit) ? permit : undefined
      throw new BreakerOpenError(retryAfter, { layer: name })
    }
    const call = new JudgedCall(this, circuit, permit, request, context, slowMs)
    return follow(next, request, context, call)
  }

  #circuitOf(request: Request, context: Context): Circuit {
    const { key: by } = this.#options
    const key =
      by === 'model'
        ? (context.base.model?.(request) ?? '')
        : String(atOnce(by?.(request, context)))
    return this.#circuitAt(key)
  }

  #circuitAt(key: string): Circuit {
    let circuit = this.#byKey.get(key)
    if (circuit === undefined) {
      circuit = this.#make(key)
      this.#byKey.set(key, circuit)
      if (this.#isolation.has(key)) circuit.isolate()
    }
    return circuit
  }

  #make(key: string | undefined): Circuit {
    const { name, shared, onStateChange } = this.#options
    const circuit = new Circuit({
      ...this.#options,
      onStateChange: (state, trace, isHeard) => {
        if (state === 'open') this.#stats.opened++
        if (state === 'open' && isHeard) this.#stats.heard++
        trace?.breaker(name, state)
        if (onStateChange) runHook('breaker: onStateChange()', () => onStateChange(state, key))
      },
      onMet: (state, trace) => trace?.breaker(name, state, true),
    })
    if (shared !== undefined) circuit.join(shared, key ?? '')
    return circuit
  }

  /** The verdict on the end of an answer; undefined when it does not count. @internal */
  judge(
    { outcome, error }: StreamEnd,
    request: unknown,
    context: Context,
    isSlow: boolean,
  ): 'success' | 'failure' | undefined {
    const verdict = this.#verdict(outcome, error, request, context)
    if (verdict === 'success') this.#stats.successes++
    if (verdict === 'failure') this.#stats.failures++
    if (verdict !== undefined && isSlow) this.#stats.slow++
    return verdict
  }

  #verdict(
    outcome: StreamEnd['outcome'],
    error: unknown,
    request: unknown,
    context: Context,
  ): 'success' | 'failure' | undefined {
    if (outcome === 'complete') return 'success'
    if (outcome === 'left' || isOfOwnKey(error, request, context)) return undefined
    return this.#counts(error, context) ? 'failure' : undefined
  }

  #counts(error: unknown, { cancel }: Context): boolean {
    // Aborts from outside do not count, except an outer time limit: then upstream was too slow.
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

  /** Opens the circuit of a key until `reset()`. Without a key: all circuits, and all new ones. */
  isolate(key: string | undefined): void {
    this.#checkKey('isolate', key)
    this.#isolation.set(key, true)
    for (const circuit of this.#those(key)) circuit.isolate()
  }

  /** Closes the circuit of a key, or all circuits. */
  reset(key: string | undefined): void {
    this.#checkKey('reset', key)
    this.#isolation.set(key, false)
    for (const circuit of this.#those(key)) circuit.reset()
  }

  /** The state of a key's circuit; without a key, the worst state of all. */
  state(key: string | undefined): BreakerState {
    this.#checkKey('state', key)
    if (key !== undefined) {
      const unknown = this.#isolation.has(key) ? 'open' : 'closed'
      return this.#byKey.peek(key)?.state ?? unknown
    }
    const states = new Set(this.#those(undefined).map((circuit) => circuit.state))
    if (states.has('open') || this.#isolation.isSome) return 'open'
    return states.has('half-open') ? 'half-open' : 'closed'
  }

  #checkKey(method: string, key: string | undefined): void {
    if (key === undefined || this.#only === undefined) return
    const { name } = this.#options
    const sentence = `${name}: ${method}() takes no key because all calls share one circuit. Set the option "key" to use several.`
    throw new ConfigError(sentence, { layer: name })
  }

  #those(key: string | undefined): Circuit[] {
    if (this.#only !== undefined) return [this.#only]
    return key === undefined ? [...this.#byKey.values()] : [this.#circuitAt(key)]
  }

  snapshot(): BreakerSnapshot {
    const circuits: CircuitSnapshot[] = []
    const add = (key: string | undefined, circuit: Circuit) => {
      const open = circuit.snapshot()
      if (open !== undefined && !this.#isolation.has(key)) circuits.push(exported(key, open))
    }
    if (this.#only !== undefined) add(undefined, this.#only)
    // The most recently used circuit comes last, so that it is the last to be evicted after a
    // restore.
    for (const [key, circuit] of [...this.#byKey.entries()].reverse()) add(key, circuit)
    const { isOfAll, exceptions } = this.#isolation
    return { isolated: isOfAll, exceptions, circuits }
  }

  restore({ isolated, exceptions, circuits }: BreakerSnapshot): void {
    for (const circuit of circuits) {
      // Circuits with a key do not fit a breaker without the option `key`, and vice versa.
      const isOurs = (circuit.key === undefined) === (this.#only !== undefined)
      if (isOurs) this.#those(circuit.key)[0]?.restore(imported(circuit))
    }
    if (isolated) this.isolate(undefined)
    if (this.#only !== undefined) return
    for (const key of exceptions) isolated ? this.reset(key) : this.isolate(key)
  }

  stats() {
    let open = 0
    let halfOpen = 0
    let total = 0
    for (const circuit of this.#those(undefined)) {
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
