import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { isDeepStrictEqual } from 'node:util'
import {
  base,
  type CallOptions,
  type Context,
  defineLayer,
  type LayerOf,
  now,
  onEnd,
  type StreamEnd,
  stack,
} from '../../core/index.js'

/** How long a layer may take for what should happen immediately. Milliseconds. */
const LONGEST_MS = 2_000

/** One case: creates trials with `around()` and asserts the rule. */
export type Run = (contract: Contract) => Promise<void>
export type AnyLayer = LayerOf<unknown, unknown>
export type Base = (request: unknown, context: Context) => unknown
export type Generator = AsyncGenerator<unknown, undefined, undefined>

export interface Contract {
  /** The n-th request. */
  request(n: number): unknown
  answer(request: unknown): unknown
  /** Answers of many kinds, new objects on each call. */
  values(): unknown[]
  /** Wraps a base in new layers. */
  around(base: Base): Trial
}

type TriedStack = ((request: unknown, options?: CallOptions) => Promise<unknown>) & {
  stats(): object
  close(options?: { timeoutMs: number }): Promise<void>
}

/** The layers under test around a base, with an observer on each side. */
export class Trial {
  readonly stack: TriedStack
  /** Contexts that arrived at the base. */
  readonly inside: Context[] = []
  /** Ends of answers, as seen inside the layers and outside them. */
  readonly #innerEnds: StreamEnd[] = []
  readonly #outerEnds: StreamEnd[] = []

  constructor(
    layers: readonly AnyLayer[],
    asked: Base,
    private readonly request: (n: number) => unknown,
  ) {
    const observed = (request: unknown, context: Context) => {
      this.inside.push(context)
      return asked(request, context)
    }
    this.stack = stack(
      // A cache with an external store needs a base with a name.
      base(observed, { name: 'contract' }),
      observeEnds('outside', this.#outerEnds),
      ...layers,
      observeEnds('inside', this.#innerEnds),
    ) as unknown as TriedStack
  }

  /** Calls the stack with the n-th request. */
  ask(n: number, options?: CallOptions): Promise<unknown> {
    return this.stack(this.request(n), options)
  }

  async stream(n: number, options?: CallOptions): Promise<Generator> {
    return (await this.ask(n, options)) as Generator
  }

  /** The number of a request; 0 for a request that a layer has merged from several. */
  numberOf(asked: unknown): number {
    for (let n = 1; n < 20; n++) if (isDeepStrictEqual(asked, this.request(n))) return n
    return 0
  }

  async arrived(calls: number): Promise<void> {
    await until(() => this.inside.length === calls, 'The call never reached the base.')
  }

  async close(): Promise<void> {
    const start = now()
    await this.stack.close({ timeoutMs: LONGEST_MS })
    assert.ok(
      now() - start < LONGEST_MS,
      'All calls have ended, but the layer is still running something.',
    )
  }

  /** Asserts that every answer has ended once on both sides, and that nothing runs any more. */
  async over(...outcomes: StreamEnd['outcome'][]): Promise<void> {
    const sides = [this.#innerEnds, this.#outerEnds]
    await until(() => sides.every((ends) => ends.length > 0), 'The answer never ended.')
    await this.close()
    for (const ends of sides) {
      assert.equal(ends.length, 1, 'An answer ended more than once.')
      assert.ok(
        outcomes.includes(ends[0]!.outcome),
        `It ended as ${ends[0]!.outcome}; expected ${outcomes.join(' or ')}.`,
      )
    }
  }

  /** Asserts that no timer or listener is left since `timersBefore`. */
  async clean(timersBefore: number, signal: AbortSignal, what: string): Promise<void> {
    const isListened = () =>
      getEventListeners(signal, 'abort').length > 0 ||
      this.inside.some(({ closing }) => closing.watched)
    await until(
      () => timers() <= timersBefore && !isListened(),
      `${what} left a timer or a listener behind.`,
    )
  }
}

const observeEnds = (name: string, ends: StreamEnd[]): AnyLayer =>
  defineLayer({
    name,
    wrap: (next) => async (request, context) =>
      onEnd(await next(request, context), (end) => void ends.push(end)),
  })

/** A caller that aborts with a reason of its own. */
export class Caller {
  readonly #controller = new AbortController()
  readonly signal: AbortSignal = this.#controller.signal

  constructor(readonly reason: unknown = new Error('The caller has left.')) {}

  leave(): void {
    this.#controller.abort(this.reason)
  }
}

/**
 * A stream that counts how often its reader leaves. After its chunks it ends, fails with `error`,
 * or goes silent.
 */
export class Source implements AsyncIterableIterator<unknown> {
  left = 0
  readonly #chunks: unknown[]
  readonly #then: 'end' | 'silence' | { error: unknown }
  #settle: ((result: IteratorResult<unknown>) => void) | undefined

  constructor(chunks: unknown[], then: 'end' | 'silence' | { error: unknown } = 'end') {
    this.#chunks = chunks
    this.#then = then
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#chunks.length > 0) return { done: false, value: this.#chunks.shift() }
    if (this.#then === 'end') return { done: true, value: undefined }
    if (this.#then !== 'silence') throw this.#then.error
    return new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  async return(): Promise<IteratorResult<unknown>> {
    this.left++
    this.#settle?.({ done: true, value: undefined })
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator]() {
    return this
  }
}

export const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Waits until `holds()` is true, by turns of the event loop instead of a timer. */
export async function until(holds: () => boolean, otherwise: string): Promise<void> {
  const start = now()
  while (!holds()) {
    if (now() - start > LONGEST_MS) assert.fail(otherwise)
    await turn()
  }
}

/** The error that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error
  }
  return assert.fail(`Expected a rejection, got ${JSON.stringify(value)}.`)
}

/** An error that no default policy retries. */
export const mistake = () => new TypeError('The base failed on purpose.')

/** Number of timers that keep the process alive. */
export const timers = () =>
  process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
