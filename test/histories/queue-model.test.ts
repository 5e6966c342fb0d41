import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isStackError, stack } from '../../src/core/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { ServiceTime } from '../../src/layers/queue/service-time.js'
import { type Gate, gate } from '../support/gate.js'
import { MINIMIZE_MS, settle, useHistoryClock } from '../support/history-clock.js'
import { type Watched, watch } from '../support/watch.js'
import { command, type RealStack } from './command.js'
import { type Place, ReferenceTurns } from './reference-turns.js'

const clock = useHistoryClock()

interface Rules {
  readonly concurrency: number
  readonly maxWaiting: number
  readonly maxWaitMs: number
  readonly fairness: boolean
}

const WEIGHTS = { gold: 2 }
/** A call that would get its turn this shortly before its deadline is refused. */
const TOO_LATE_MS = 2

/** What a queue should be: who runs, who waits, and who was told to go, with which code. */
class Reference {
  readonly started: number[] = []
  readonly refused = new Map<number, string>()
  readonly stats = { running: 0, completed: 0, failed: 0, rejected: 0 }
  displaced = 0
  readonly turns = new ReferenceTurns(WEIGHTS)
  readonly #began = new Map<number, number>()
  /** The estimate itself is tried elsewhere. */
  readonly #service = new ServiceTime()
  readonly #rules: Rules

  constructor(rules: Rules) {
    this.#rules = rules
  }

  get waiting(): readonly Place[] {
    return this.turns.waiting
  }

  enter(id: number, priority: number, timeoutMs: number, named: string | undefined): void {
    const { maxWaiting, maxWaitMs, concurrency, fairness } = this.#rules
    const tenant = fairness ? named : undefined
    const now = performance.now()
    const until = now + Math.min(timeoutMs - TOO_LATE_MS, maxWaitMs)
    const begins = this.waiting.length === 0 && this.stats.running < concurrency
    const ahead = this.turns.ahead(priority, tenant)
    if (begins) {
      this.turns.pass(priority, tenant)
      return this.#start(id)
    }
    const isFull = this.waiting.length >= maxWaiting
    const displaced = isFull ? this.turns.displaced(priority, tenant, maxWaiting) : undefined
    if (isFull && displaced === undefined) return this.#refuse(id, 'QUEUE_FULL')
    const waitMs = ((ahead + 1) / concurrency) * this.#service.meanMs
    if (this.#isLate(now + timeoutMs, waitMs, 0.9)) return this.#refuse(id, 'QUEUE_FULL')
    if (displaced !== undefined) {
      this.displaced++
      this.#refuse(displaced.id, 'QUEUE_FULL')
    }
    if (until <= now) return this.#refuse(id, 'TIMEOUT')
    this.turns.add({ id, priority, tenant, deadline: now + timeoutMs, until })
  }

  abort(id: number): void {
    if (this.waiting.some((place) => place.id === id)) this.#refuse(id, 'ABORTED')
  }

  end(id: number, outcome: 'completed' | 'failed'): void {
    this.#service.add(performance.now() - (this.#began.get(id) ?? 0))
    this.stats[outcome]++
    this.stats.running--
    this.callWaiting()
  }

  /** What is due at this millisecond. */
  tick(): void {
    for (const { id, until } of [...this.waiting])
      if (until <= performance.now()) this.#refuse(id, 'TIMEOUT')
    this.callWaiting()
  }

  callWaiting(): void {
    while (this.waiting.length > 0 && this.stats.running < this.#rules.concurrency) {
      const first = this.turns.next()
      // Looked at again at the head, as an estimate may have been wrong.
      if (this.#isLate(first.deadline, 0, 0.25)) {
        this.turns.refund(first)
        this.#refuse(first.id, 'QUEUE_FULL')
      } else this.#start(first.id)
    }
  }

  /** Going by how long calls have taken it would not be done in time. */
  #isLate(deadline: number, waitMs: number, share: number): boolean {
    return (
      this.#service.isKnown && waitMs + this.#service.within(share) > deadline - performance.now()
    )
  }

  #start(id: number): void {
    this.#began.set(id, performance.now())
    this.started.push(id)
    this.stats.running++
  }

  #refuse(id: number, code: string): void {
    const place = this.waiting.find((place) => place.id === id)
    if (place !== undefined) this.turns.remove(place)
    this.refused.set(id, code)
    this.stats.rejected++
  }
}

interface Call {
  readonly caller: AbortController
  readonly result: Watched<unknown>
}
interface Model {
  readonly reference: Reference
  readonly calls: Call[]
}
interface Real extends RealStack<number, { queue: object }> {
  readonly started: number[]
  readonly works: Map<number, Gate<unknown>>
}

function compare({ reference, calls }: Model, real: Real): void {
  expect(real.started).toEqual(reference.started)
  expect(real.stats().queue).toMatchObject({
    ...reference.stats,
    waiting: reference.waiting.length,
  })
  for (const [id, code] of reference.refused) {
    const error = calls[id]?.result.error
    expect(isStackError(error) ? error.code : error && 'ABORTED', `call ${id}`).toBe(code)
  }
}

class Enter implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly priority: number,
    readonly timeoutMs: number,
    readonly tenant: string | undefined,
  ) {}
  check = () => true
  async run(model: Model, real: Real): Promise<void> {
    const id = model.calls.length
    const caller = new AbortController()
    const { priority, timeoutMs, tenant } = this
    model.reference.enter(id, priority, timeoutMs, tenant)
    const options = { priority, timeoutMs, tenant, signal: caller.signal }
    model.calls.push({ caller, result: watch(real.ask(id, options)) })
    await settle()
    compare(model, real)
  }
  toString = () => `enter(${this.priority}, ${this.timeoutMs} ms, ${this.tenant})`
}

class Abort implements fc.AsyncCommand<Model, Real> {
  constructor(readonly which: number) {}
  check = ({ reference }: Readonly<Model>) => reference.waiting.length > 0
  async run(model: Model, real: Real): Promise<void> {
    const { id } = model.reference.waiting[this.which % model.reference.waiting.length] as Place
    model.reference.abort(id)
    model.calls[id]?.caller.abort(new Error('enough'))
    await settle()
    compare(model, real)
  }
  toString = () => `abort(${this.which})`
}

class End implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly which: number,
    readonly outcome: 'completed' | 'failed',
  ) {}
  check = ({ reference }: Readonly<Model>) => reference.stats.running > 0
  async run(model: Model, real: Real): Promise<void> {
    const ids = [...real.works.keys()]
    const id = ids[this.which % ids.length] as number
    const work = real.works.get(id)
    real.works.delete(id)
    if (this.outcome === 'completed') work?.open('done')
    else work?.fail(new Error('the work failed'))
    await settle()
    model.reference.end(id, this.outcome)
    compare(model, real)
  }
  toString = () => `${this.outcome}(${this.which})`
}

const tick = (ms: number) =>
  command<Model, Real>(`tick(${ms})`, async (model, real) => {
    for (let i = 0; i < ms; i++) {
      await clock.pass(1)
      model.reference.tick()
      compare(model, real)
    }
  })

describe('queue', () => {
  it(
    'starts, refuses and counts calls like its reference model after every command',
    async () => {
      const between = (min: number, max: number) => fc.integer({ min, max })
      const enter = fc
        .tuple(
          between(-1, 1),
          fc.oneof(between(1, 40), fc.constant(10_000)),
          fc.constantFrom('gold', 'a', 'a', 'a', 'b'),
        )
        .map((of) => new Enter(...of))
      const commands = fc.commands(
        [
          enter,
          enter,
          enter,
          fc.nat(20).map((which) => new Abort(which)),
          fc
            .tuple(fc.nat(20), fc.constantFrom('completed' as const, 'failed' as const))
            .map((of) => new End(...of)),
          between(1, 12).map(tick),
        ],
        { maxCommands: 60, size: 'max' },
      )
      const rules: fc.Arbitrary<Rules> = fc.record({
        concurrency: between(1, 3),
        maxWaiting: between(0, 5),
        maxWaitMs: fc.constantFrom(10, 30, 5_000),
        fairness: fc.constantFrom(true, true, false),
      })
      let displaced = 0
      const codes = new Set<string>()
      await fc.assert(
        fc.asyncProperty(rules, commands, async (rules, commands) => {
          clock.install()
          const works = new Map<number, Gate<unknown>>()
          const started: number[] = []
          const base = (id: number) => {
            started.push(id)
            const work = gate<unknown>()
            works.set(id, work)
            return work.promise
          }
          const ask = stack(base, queue({ ...rules, weights: WEIGHTS }))
          const model: Model = { reference: new Reference(rules), calls: [] }
          try {
            await fc.asyncModelRun(
              () => ({ model, real: { ask, stats: ask.stats, started, works } }),
              commands,
            )
          } finally {
            for (const work of works.values()) work.open('over')
            await ask.close()
          }
          displaced += model.reference.displaced
          for (const code of model.reference.refused.values()) codes.add(code)
          expect(clock.timers).toBe(0)
        }),
        { numRuns: 160 },
      )
      // The histories were worth having.
      expect([...codes].sort()).toEqual(['ABORTED', 'QUEUE_FULL', 'TIMEOUT'])
      expect(displaced).toBeGreaterThan(5)
    },
    MINIMIZE_MS,
  )
})
