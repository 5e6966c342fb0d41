import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base, type CacheMode, type Context, stack } from '../../src/core/index.js'
import { type CacheNote, cache } from '../../src/layers/cache/index.js'
import { type Gate, gate } from '../support/gate.js'
import { MINIMIZE_MS, settle, useHistoryClock } from '../support/history-clock.js'
import { type Driven, driven } from '../support/streams.js'
import { type Watched, watch } from '../support/watch.js'
import { command, type RealStack } from './command.js'

const clock = useHistoryClock()

interface Ask {
  readonly prompt: string
  readonly stream: boolean
}
interface Rules {
  readonly ttlMs: number
  readonly staleMs: number
  readonly maxEntries: number
}
/** Work upstream that has not ended: what will be kept of it, and under which key. */
interface Work {
  readonly key: string | undefined
  readonly generation: number
  readonly renews: boolean
}

/**
 * What a cache should be: which answer a call gets, and what is kept. The newest use is last in
 * `entries`.
 */
class Reference {
  readonly entries = new Map<string, { answer: number; at: number }>()
  readonly stats = { hits: 0, misses: 0, stale: 0, unkeyed: 0 }
  /** By the number of the upstream request. */
  readonly works: Work[] = []
  readonly renewing = new Set<string>()
  #generation = 0
  readonly #rules: Rules

  constructor(rules: Rules) {
    this.#rules = rules
  }

  /** What the call is given at once, if anything; else, or beside it, upstream is asked. */
  call(
    key: string,
    mode: CacheMode,
  ): { status: CacheNote['status'] | undefined; answer: number | undefined } {
    if (mode === 'no-store') {
      this.works.push({ key: undefined, generation: 0, renews: false })
      return { status: undefined, answer: undefined }
    }
    const entry = mode === 'reload' ? undefined : this.entries.get(key)
    const age = entry === undefined ? 0 : performance.now() - entry.at
    if (entry !== undefined && age <= this.#rules.ttlMs + this.#rules.staleMs) {
      this.entries.delete(key)
      this.entries.set(key, entry)
      this.stats.hits++
      if (age <= this.#rules.ttlMs) return { status: 'hit', answer: entry.answer }
      this.stats.stale++
      if (!this.renewing.has(key)) {
        this.renewing.add(key)
        this.works.push({ key, generation: this.#generation, renews: true })
      }
      return { status: 'stale', answer: entry.answer }
    }
    if (entry !== undefined) this.entries.delete(key)
    this.stats.misses++
    this.works.push({ key, generation: this.#generation, renews: false })
    return { status: 'miss', answer: undefined }
  }

  end(request: number, whole: boolean): void {
    const { key, generation, renews } = this.works[request] as Work
    if (key === undefined) return
    if (renews) this.renewing.delete(key)
    if (!whole || generation !== this.#generation) return
    this.entries.delete(key)
    this.entries.set(key, { answer: request, at: performance.now() })
    const [oldest] = this.entries.keys()
    if (this.entries.size > this.#rules.maxEntries && oldest !== undefined)
      this.entries.delete(oldest)
  }

  clear(): void {
    this.#generation++
    this.entries.clear()
  }
}

type Source = Gate<unknown> | Driven<unknown>
interface Model {
  readonly reference: Reference
  /** Requests under way, and the calls that wait for them; a renewal has none. */
  readonly open: Map<number, Watched<unknown> | undefined>
}
interface Real extends RealStack<Ask, { cache: object }> {
  clear(): Promise<void>
  readonly sources: Source[]
}

const compare = ({ reference }: Model, real: Real) =>
  expect(real.stats().cache).toMatchObject({ ...reference.stats, entries: reference.entries.size })

class Call implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly prompt: string,
    readonly stream: boolean,
    readonly tenant: string | undefined,
    readonly mode: CacheMode,
  ) {}
  check = () => true
  async run(model: Model, real: Real): Promise<void> {
    const { prompt, stream, tenant, mode } = this
    const requests = model.reference.works.length
    const expected = model.reference.call(JSON.stringify([prompt, stream, tenant]), mode)
    const meta = new Map<string, unknown>()
    const call = watch(real.ask({ prompt, stream }, { tenant, cache: mode, meta }))
    await settle()
    expect((meta.get('cache') as CacheNote | undefined)?.status).toBe(expected.status)
    expect(real.sources.length, 'requests upstream').toBe(model.reference.works.length)
    if (model.reference.works.length > requests)
      model.open.set(requests, expected.answer === undefined ? call : undefined)
    if (expected.answer !== undefined) {
      const answer = call.value
      const given = stream
        ? await (answer as AsyncGenerator).next().then(({ value }) => value)
        : answer
      expect(given).toEqual({ answer: expected.answer })
      if (stream)
        expect(await (answer as AsyncGenerator).next()).toEqual({ done: true, value: undefined })
    }
    await settle()
    compare(model, real)
  }
  toString = () =>
    `call(${this.prompt}${this.stream ? ', stream' : ''}, ${this.tenant}, ${this.mode})`
}

class End implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly which: number,
    readonly how: 'whole' | 'short' | 'failed' | 'left',
  ) {}
  check = ({ open }: Readonly<Model>) => open.size > 0
  async run(model: Model, real: Real): Promise<void> {
    const [request, call] = [...model.open][this.which % model.open.size] as [
      number,
      Watched<unknown> | undefined,
    ]
    const source = real.sources[request] as Source
    model.open.delete(request)
    let whole = this.how === 'whole'
    if (!('stream' in source)) {
      whole = this.how === 'whole' || this.how === 'left'
      if (whole) source.open({ answer: request })
      else source.fail(new Error('the function failed'))
    } else if (this.how === 'failed') source.stream.log.fail(new Error('the function failed'))
    else {
      source.stream.log.end({
        outcome: 'complete',
        cacheable: this.how === 'whole' || this.how === 'left',
      })
      const reader = call?.value as AsyncGenerator | undefined
      // A renewal reads for itself.
      if (reader === undefined) whole = this.how === 'whole' || this.how === 'left'
      else if (this.how === 'left') {
        // All of it was there, and nobody wanted it.
        await reader.return(undefined)
        whole = true
      } else for await (const chunk of reader) expect(chunk).toEqual({ answer: request })
    }
    await settle()
    model.reference.end(request, whole)
    compare(model, real)
  }
  toString = () => `${this.how}(${this.which})`
}

const clear = command<Model, Real>('clear', async (model, real) => {
  await real.clear()
  model.reference.clear()
  compare(model, real)
})

const tick = (ms: number) => command<Model, Real>(`tick(${ms})`, () => clock.pass(ms))

describe('cache', () => {
  it(
    'serves, keeps and forgets the same entries as its reference model after every command',
    async () => {
      const call = fc
        .tuple(
          fc.constantFrom('a', 'a', 'b'),
          fc.boolean(),
          fc.constantFrom(undefined, undefined, undefined, 'alice'),
          fc.constantFrom<CacheMode>(
            'default',
            'default',
            'default',
            'default',
            'reload',
            'no-store',
          ),
        )
        .map((of) => new Call(...of))
      const end = fc
        .tuple(fc.nat(20), fc.constantFrom('whole', 'whole', 'whole', 'short', 'failed', 'left'))
        .map((of) => new End(...of))
      const passing = fc.oneof(
        { weight: 6, arbitrary: fc.integer({ min: 1, max: 30 }).map(tick) },
        { weight: 2, arbitrary: fc.constantFrom(100, 101, 200, 201).map(tick) },
        { weight: 1, arbitrary: fc.constant(clear) },
      )
      const commands = fc.commands([call, call, end, end, passing], {
        maxCommands: 100,
        size: 'max',
      })
      const rules = fc.record({
        ttlMs: fc.constant(100),
        staleMs: fc.constantFrom(0, 100, 100),
        maxEntries: fc.integer({ min: 1, max: 4 }),
      })
      const seen = { hits: 0, stale: 0 }
      await fc.assert(
        fc.asyncProperty(rules, commands, async (rules, commands) => {
          clock.install()
          const sources: Source[] = []
          const fn = ({ stream }: Ask, { cancel }: Context): unknown => {
            const source = stream
              ? driven<unknown>({ committed: true, cancel, unreadMs: 1e9 })
              : gate<unknown>()
            const request = sources.push(source) - 1
            if (!('stream' in source)) return source.promise
            source.stream.log.push({ answer: request })
            return source.stream
          }
          const layer = cache(rules)
          const ask = stack(base(fn, { streams: ({ stream }) => stream, unreadMs: 1e9 }), layer)
          const real: Real = {
            ask: ask as unknown as Real['ask'],
            stats: ask.stats,
            clear: layer.clear,
            sources,
          }
          const model: Model = { reference: new Reference(rules), open: new Map() }
          await fc.asyncModelRun(() => ({ model, real }), commands)
          seen.hits += model.reference.stats.hits
          seen.stale += model.reference.stats.stale
          for (const source of sources)
            'stream' in source ? source.stream.log.fail(new Error('over')) : source.open('over')
          await ask.close()
          expect(clock.timers).toBe(0)
        }),
        { numRuns: 120 },
      )
      // The histories were worth having.
      expect(seen.hits).toBeGreaterThan(30)
      expect(seen.stale).toBeGreaterThan(2)
    },
    MINIMIZE_MS,
  )
})
