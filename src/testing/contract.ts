import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { isDeepStrictEqual } from 'node:util'
import {
  type CallOptions,
  type Context,
  defineLayer,
  isStackError,
  type LayerOf,
  now,
  onEnd,
  type StreamEnd,
  stack,
} from '../core/index.js'

/** One thing that every layer must keep to. */
export interface LayerContractCase {
  /** What holds, as a sentence without its subject: "passes a value through unchanged". */
  readonly name: string
  /** Rejects with an `AssertionError` when the layer does otherwise. Needs real timers. */
  run(): Promise<void>
}

/** Options of `layerContract()`. */
export interface LayerContractOptions<Request = unknown> {
  /**
   * The n-th request; different numbers give different requests. For layers that heed requests of a
   * certain form only.
   * @default a text
   */
  request?: ((n: number) => Request) | undefined
  /**
   * What the base answers to a request, always the same for the same one.
   * @default values of all kinds
   */
  answer?: ((request: Request) => unknown) | undefined
  /** Whether the layer is tried with streams, too. @default true */
  streams?: boolean | undefined
}

/**
 * What a layer owes to the layers around it, as cases for any test runner: answers, errors and
 * streams pass unchanged, the caller's abort reaches the work and his own reason comes out, every
 * answer ends once, nothing is left behind, calls do not mix, and the context arrives inside whole.
 * Each case makes layers of its own and takes some milliseconds.
 *
 * @param makeLayer makes the layer to try, or several as a stack has them (outermost first), anew
 * at each call
 * @example for (const { name, run } of layerContract(() => myLayer())) it(name, run)
 */
export function layerContract<Request = unknown, Answer = unknown>(
  makeLayer: () => LayerOf<Request, Answer> | readonly LayerOf<Request, Answer>[],
  options: LayerContractOptions<Request> = {},
): LayerContractCase[] {
  const request = (options.request ?? ((n: number) => `request ${n}`)) as (n: number) => unknown
  const answer = options.answer as ((request: unknown) => unknown) | undefined
  const contract: Contract = {
    request,
    answer: answer ?? ((asked) => ({ asked, list: [1, { two: 2 }], none: null })),
    values: answer === undefined ? plainValues : () => [answer(request(0)), answer(request(1))],
    around: (base) => new Trial(makeLayer as () => AnyLayer | readonly AnyLayer[], base),
  }
  const cases = options.streams === false ? valueCases : { ...valueCases, ...streamCases }
  return Object.entries(cases).map(([name, run]) => ({ name, run: () => supervise(run, contract) }))
}

/** Runs a case and then closes its stacks, in which nothing may run any more. */
async function supervise(run: Run, contract: Contract): Promise<void> {
  const trials: Trial[] = []
  const around = (base: Base) => {
    const trial = contract.around(base)
    trials.push(trial)
    return trial
  }
  try {
    await run({ ...contract, around })
    for (const trial of trials) await trial.close()
  } finally {
    for (const { ask } of trials) await ask.close({ timeoutMs: 0 }).catch(() => {})
  }
}

/** How long the layer may take for what should happen at once. */
const PATIENCE_MS = 2_000

type AnyLayer = LayerOf<unknown, unknown>
type Base = (request: unknown, context: Context) => unknown
type Ask = ((request: unknown, options?: CallOptions) => Promise<unknown>) & {
  stats(): object
  close(options?: { timeoutMs: number }): Promise<void>
}
type Generator = AsyncGenerator<unknown, undefined, undefined>

interface Contract {
  request(n: number): unknown
  answer(request: unknown): unknown
  /** Answers of many kinds, new ones at each call. */
  values(): unknown[]
  around(base: Base): Trial
}

const plainValues = () => [
  undefined,
  null,
  '',
  0,
  false,
  'text',
  [1, [2]],
  { a: { b: ['c'] }, d: undefined },
  Buffer.from([0, 1, 255]),
]
const chunks = () => ['one', '', { two: [2] }, 0, null, Buffer.from([3, 0, 3]), 'last']

/** The layer between two that watch, around a base. */
class Trial {
  readonly ask: Ask
  /** Contexts that arrived at the base. */
  readonly inside: Context[] = []
  /** Ends of answers, as they are seen inside the layer and outside it. */
  readonly innerEnds: StreamEnd[] = []
  readonly outerEnds: StreamEnd[] = []

  constructor(makeLayer: () => AnyLayer | readonly AnyLayer[], base: Base) {
    const made = makeLayer()
    const watched = (request: unknown, context: Context) => {
      this.inside.push(context)
      return base(request, context)
    }
    const layers = Array.isArray(made) ? (made as readonly AnyLayer[]) : [made as AnyLayer]
    this.ask = stack(
      watched,
      watch('outside', this.outerEnds),
      ...layers,
      watch('inside', this.innerEnds),
    ) as unknown as Ask
  }

  async stream(request: unknown, options?: CallOptions): Promise<Generator> {
    return (await this.ask(request, options)) as Generator
  }

  async close(): Promise<void> {
    const start = now()
    await this.ask.close({ timeoutMs: PATIENCE_MS })
    assert.ok(now() - start < PATIENCE_MS, 'Every call has ended, but something still runs.')
  }

  /** Everything has ended once on both sides, and nothing runs any more. */
  async over(...outcomes: StreamEnd['outcome'][]): Promise<void> {
    await until(
      () => this.innerEnds.length > 0 && this.outerEnds.length > 0,
      'The answer never ended.',
    )
    await this.close()
    for (const ends of [this.innerEnds, this.outerEnds]) {
      assert.equal(ends.length, 1, 'An answer ended more than once.')
      assert.ok(
        outcomes.includes(ends[0]!.outcome),
        `It ended as ${ends[0]!.outcome}; expected ${outcomes.join(' or ')}.`,
      )
    }
  }
}

const watch = (name: string, ends: StreamEnd[]): AnyLayer =>
  defineLayer({
    name,
    wrap: (next) => async (request, context) =>
      onEnd(await next(request, context), (end) => void ends.push(end)),
  })

/**
 * A stream that counts how often it is left; after its chunks it ends, fails with `error`, or says
 * nothing more.
 */
class Source implements AsyncIterableIterator<unknown> {
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

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Waits, by turns of the event loop and not with a timer, until something holds. */
async function until(holds: () => boolean, otherwise: string): Promise<void> {
  const start = now()
  while (!holds()) {
    if (now() - start > PATIENCE_MS) assert.fail(otherwise)
    await turn()
  }
}

async function collect(stream: Generator): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const chunk of stream) all.push(chunk)
  return all
}

/** What a promise rejects with. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error
  }
  return assert.fail(`Expected a rejection, got ${JSON.stringify(value)}.`)
}

/** An error that no policy repeats. */
const mistake = () => new TypeError('The base failed on purpose.')

const pending = (_: unknown, { signal }: Context) =>
  new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  )

/** Timers that keep the process alive. */
const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length

/** Whether anybody still listens to the caller's signal, or for the stack's closing. */
const isHeard = (signal: AbortSignal, inside: readonly Context[]) =>
  getEventListeners(signal, 'abort').length > 0 || inside.some(({ closing }) => closing.watched)

type Run = (contract: Contract) => Promise<void>

const valueCases: Record<string, Run> = {
  'passes a value through unchanged': async ({ around, request, values }) => {
    const answers = values()
    const { ask } = around((asked) => answers[numberOf(asked, request)])
    for (const [n, expected] of values().entries())
      assert.deepStrictEqual(await ask(request(n)), expected)
  },

  'passes an error through as it is': async ({ around, request }) => {
    const error = mistake()
    const { ask } = around(() => Promise.reject(error))
    assert.equal(await failure(ask(request(1))), error)
  },

  'rejects when the base throws without a promise': async ({ around, request }) => {
    const error = mistake()
    const { ask } = around(() => {
      throw error
    })
    assert.equal(await failure(ask(request(1))), error)
  },

  "hands the caller's abort inward and his own reason outward": async ({ around, request }) => {
    const { ask, inside } = around(pending)
    const caller = new AbortController()
    const reason = new Error('The caller has left.')
    const failed = failure(ask(request(1), { signal: caller.signal }))
    await until(() => inside.length === 1, 'The call never arrived inside.')
    caller.abort(reason)
    assert.equal(await failed, reason)
    await until(() => inside[0]!.signal.aborted, 'The abort never arrived inside.')
  },

  'lets a caller go at once although the work heeds no signal': async ({
    around,
    request,
    answer,
  }) => {
    let finish = () => {}
    const { ask, inside } = around(async (asked) => {
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      return answer(asked)
    })
    const caller = new AbortController()
    const reason = { code: 'LEFT' }
    const failed = failure(ask(request(1), { signal: caller.signal }))
    await until(() => inside.length === 1, 'The call never arrived inside.')
    caller.abort(reason)
    assert.equal(await failed, reason)
    finish()
  },

  'lets the caller leave before the work begins': async ({ around, request, answer }) => {
    const { ask } = around((asked) => answer(asked))
    const caller = new AbortController()
    const reason = new Error('The caller left at once.')
    const failed = failure(ask(request(1), { signal: caller.signal }))
    caller.abort(reason)
    assert.equal(await failed, reason)
    assert.deepStrictEqual(await ask(request(2)), answer(request(2)))
  },

  'ends once when the answer is a value': async ({ around, request, answer }) => {
    const trial = around((asked) => answer(asked))
    await trial.ask(request(1))
    await trial.over('complete')
  },

  'leaves no timer and no listener behind': async ({ around, request, answer }) => {
    const before = timers()
    const { ask, inside } = around((asked, context) => {
      const n = inside.length
      if (n % 3 === 1) return answer(asked)
      return n % 3 === 2 ? Promise.reject(mistake()) : pending(asked, context)
    })
    const caller = new AbortController()
    const signal = caller.signal
    const options = { signal, timeoutMs: 60_000 }
    const clean = () => timers() <= before && !isHeard(signal, inside)
    await ask(request(1), options)
    await until(clean, 'A value left a timer or a listener behind.')
    await failure(ask(request(2), options))
    await until(clean, 'A failure left a timer or a listener behind.')
    const left = failure(ask(request(3), options))
    await until(() => inside.length === 3, 'The call never arrived inside.')
    caller.abort(new Error('The caller has left.'))
    await left
    await until(clean, 'An abort left a timer or a listener behind.')
  },

  "does not mix concurrent calls' answers": async ({ around, request, answer }) => {
    const { ask } = around(async (asked) => {
      for (let i = numberOf(asked, request) % 4; i > 0; i--) await turn()
      return answer(asked)
    })
    const numbers = Array.from({ length: 12 }, (_, n) => n)
    const answers = await Promise.all(numbers.map((n) => ask(request(n))))
    for (const n of numbers) assert.deepStrictEqual(answers[n], answer(request(n)))
  },

  'keeps the context whole on its way in': async ({ around, request, answer }) => {
    const { ask, inside } = around((asked, context) => {
      context.meta.set('contract', 'a note')
      return answer(asked)
    })
    const meta = new Map<string, unknown>()
    await ask(request(1), { tenant: 'contract', priority: 3, meta })
    const [context] = inside
    assert.ok(context !== undefined, 'The call never arrived inside.')
    assert.equal(context.tenant, 'contract')
    assert.equal(context.priority, 3)
    assert.equal(context.cache, 'default')
    assert.ok(context.signal instanceof AbortSignal)
    assert.ok(context.meta instanceof Map)
    const derived = context.derive({ priority: 4 })
    assert.equal(derived.priority, 4)
    assert.equal(derived.meta, context.meta)
    assert.equal(meta.get('contract'), 'a note', 'A note made inside did not reach the caller.')
  },

  "hands no later deadline inward than the caller's": async ({ around, request, answer }) => {
    const deadlines: number[] = []
    const { ask } = around((asked, context) => {
      deadlines.push(context.deadline)
      return answer(asked)
    })
    const deadline = now() + 30_000
    await ask(request(1), { deadline })
    assert.equal(deadlines.length, 1)
    assert.ok(deadlines[0]! <= deadline, `The deadline moved by ${deadlines[0]! - deadline} ms.`)
  },

  'tells stats that survive JSON': async ({ around, request, answer }) => {
    const { ask } = around((asked) => answer(asked))
    await ask(request(1))
    const stats = ask.stats()
    assert.deepStrictEqual(JSON.parse(JSON.stringify(stats)), stats)
  },

  'closes twice and then refuses calls': async ({ around, request, answer }) => {
    const { ask, inside } = around((asked) => answer(asked))
    await ask(request(1))
    await ask.close()
    await ask.close()
    assert.ok(isStackError(await failure(ask(request(2))), 'CLOSED'))
    assert.equal(inside.length, 1)
  },

  'answers a running call, or ends it with CLOSED, when the stack closes': async ({
    around,
    request,
    answer,
  }) => {
    let finish = () => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const { ask } = around(async (asked) => {
      await finished
      return answer(asked)
    })
    const call = ask(request(1)).catch((error: unknown) => ({ error }))
    const closed = ask.close()
    finish()
    const outcome = await call
    const refused = isStackError((outcome as { error?: unknown } | undefined)?.error, 'CLOSED')
    if (!refused) assert.deepStrictEqual(outcome, answer(request(1)))
    await closed
  },
}

const streamCases: Record<string, Run> = {
  'passes the chunks of a stream through unchanged and in order': async ({ around, request }) => {
    const { ask } = around(() => new Source(chunks()))
    assert.deepStrictEqual(await collect((await ask(request(1))) as Generator), chunks())
  },

  'passes a stream without chunks through': async ({ around, request }) => {
    const { ask } = around(() => new Source([]))
    assert.deepStrictEqual(await collect((await ask(request(1))) as Generator), [])
  },

  'passes the error of a broken stream through as it is, behind its chunks': async ({
    around,
    request,
  }) => {
    const error = mistake()
    const trial = around(() => new Source(['one', 'two'], { error }))
    const got: unknown[] = []
    const stream = await trial.stream(request(1))
    const failed = await failure(
      (async () => {
        for await (const chunk of stream) got.push(chunk)
      })(),
    )
    assert.equal(failed, error)
    assert.deepStrictEqual(got, ['one', 'two'])
    await trial.over('failed')
  },

  'ends once at the last chunk': async ({ around, request }) => {
    const trial = around(() => new Source(chunks()))
    await collect(await trial.stream(request(1)))
    await trial.over('complete')
  },

  'ends once when the reader leaves early, and leaves the source': async ({ around, request }) => {
    const source = new Source(['one', 'two'], 'silence')
    const trial = around(() => source)
    for await (const chunk of await trial.stream(request(1))) {
      assert.equal(chunk, 'one')
      break
    }
    await trial.over('left', 'failed')
    assert.equal(source.left, 1)
  },

  "ends once when the caller aborts in the middle, with the caller's reason": async ({
    around,
    request,
  }) => {
    const source = new Source(['one'], 'silence')
    const trial = around(() => source)
    const caller = new AbortController()
    const reason = new Error('The caller has left.')
    const stream = await trial.stream(request(1), { signal: caller.signal })
    assert.deepStrictEqual(await stream.next(), { done: false, value: 'one' })
    const waiting = failure(stream.next())
    await turn()
    caller.abort(reason)
    assert.equal(await waiting, reason)
    assert.deepStrictEqual(await stream.next(), { done: true, value: undefined })
    await trial.over('failed')
    assert.equal(source.left, 1)
  },

  'ends once when nobody reads and the caller aborts': async ({ around, request }) => {
    const source = new Source(['one'], 'silence')
    const trial = around(() => source)
    const caller = new AbortController()
    const reason = new Error('The caller has left.')
    const stream = await trial.stream(request(1), { signal: caller.signal })
    caller.abort(reason)
    await trial.over('failed')
    assert.equal(await failure(stream.next()), reason)
    assert.equal(source.left, 1)
  },

  'leaves no timer and no listener behind a stream': async ({ around, request }) => {
    const before = timers()
    const { ask, inside } = around(() => new Source(['one', 'two']))
    const { signal } = new AbortController()
    const clean = () => timers() <= before && !isHeard(signal, inside)
    const options = { signal, timeoutMs: 60_000 }
    await collect((await ask(request(1), options)) as Generator)
    await until(clean, 'A stream that was read left a timer or a listener behind.')
    for await (const _ of (await ask(request(2), options)) as Generator) break
    await until(clean, 'A stream that was left left a timer or a listener behind.')
  },

  'does not mix the chunks of concurrent streams': async ({ around, request }) => {
    const { ask } = around((asked) => {
      const n = numberOf(asked, request)
      return new Source([`${n}: one`, `${n}: two`, `${n}: three`])
    })
    const numbers = [0, 1, 2, 3, 4]
    const texts = await Promise.all(
      numbers.map(async (n) => collect((await ask(request(n))) as Generator)),
    )
    for (const n of numbers)
      assert.deepStrictEqual(texts[n], [`${n}: one`, `${n}: two`, `${n}: three`])
  },

  'lets a stream that has begun finish when the stack closes': async ({ around, request }) => {
    const { ask } = around(() => new Source(['one', 'two', 'three']))
    const stream = (await ask(request(1))) as Generator
    const first = await stream.next()
    const closed = ask.close()
    assert.deepStrictEqual([first.value, ...(await collect(stream))], ['one', 'two', 'three'])
    await closed
  },
}

/** Which of the contract's requests it is; 0 for what a layer has made of several. */
function numberOf(asked: unknown, request: (n: number) => unknown): number {
  for (let n = 1; n < 20; n++) if (isDeepStrictEqual(asked, request(n))) return n
  return 0
}
