import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CallOptions, type Context, stack } from '../../src/core/index.js'
import { type BreakerState, breaker } from '../../src/layers/breaker/index.js'
import { type Gate, gate } from '../support/gate.js'
import { HistoryClock, settle } from '../support/history-clock.js'
import { type Driven, driven } from '../support/streams.js'
import { upstreamError } from '../support/upstream.js'
import { type Watched, watch } from '../support/watch.js'

let clock: HistoryClock

beforeEach(() => {
  clock = new HistoryClock().install()
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

/** How a call ends. `left`: a stream's reader goes early. */
type Ending = 'ok' | 'fail' | 'ignored' | 'abort' | 'left'
interface Rules {
  readonly failureRate: number
  readonly minimumCalls: number
  readonly windowMs: number
  readonly resetMs: number
}
interface Permit {
  readonly period: number
  readonly trial: number | undefined
}

/** What a breaker should be, as plainly as can be said. */
class Reference {
  state: BreakerState = 'closed'
  readonly stats = { successes: 0, failures: 0, rejected: 0, opened: 0 }
  #period = 0
  #since = 0
  #trials = 0
  #trialAt: number | undefined
  #verdicts: { tenth: number; failed: boolean }[] = []
  readonly #rules: Rules

  constructor(rules: Rules) {
    this.#rules = rules
  }

  tick(): void {
    if (this.state === 'open' && performance.now() >= this.#since + this.#rules.resetMs)
      this.state = 'half-open'
  }

  enter(): Permit | undefined {
    const now = performance.now()
    const isTried = this.#trialAt !== undefined && now < this.#trialAt + this.#rules.resetMs
    if (this.state === 'open' || (this.state === 'half-open' && isTried)) {
      this.stats.rejected++
      return undefined
    }
    if (this.state === 'closed') return { period: this.#period, trial: undefined }
    this.#trialAt = now
    return { period: this.#period, trial: ++this.#trials }
  }

  end({ period, trial }: Permit, ending: Ending): void {
    if (ending === 'ok') this.stats.successes++
    if (ending === 'fail') this.stats.failures++
    if (period !== this.#period || (trial !== undefined && trial !== this.#trials)) return
    if (trial !== undefined) this.#trialAt = undefined
    if (ending !== 'ok' && ending !== 'fail') return
    if (trial !== undefined) return this.#turn(ending === 'ok' ? 'closed' : 'open')
    const tenth = Math.floor((performance.now() - this.#since) / (this.#rules.windowMs / 10))
    this.#verdicts.push({ tenth, failed: ending === 'fail' })
    const recent = this.#verdicts.filter((verdict) => verdict.tenth > tenth - 10)
    const failures = recent.filter(({ failed }) => failed).length
    const { failureRate, minimumCalls } = this.#rules
    if (failures > 0 && recent.length >= minimumCalls && failures / recent.length >= failureRate)
      this.#turn('open')
  }

  #turn(state: 'open' | 'closed'): void {
    this.state = state
    this.#period++
    this.#since = performance.now()
    this.#trialAt = undefined
    this.#verdicts = []
    if (state === 'open') this.stats.opened++
  }
}

interface Running {
  readonly caller: AbortController
  readonly permit: Permit
  readonly call: Watched<unknown>
  /** A plain answer's work, or a stream's source. */
  readonly work: Gate<unknown> | Driven<unknown>
}
interface Model {
  readonly reference: Reference
  readonly running: Running[]
}
interface Real {
  ask(stream: boolean, options: CallOptions): Promise<unknown>
  stats(): { breaker: object }
  readonly works: (Gate<unknown> | Driven<unknown>)[]
}

const compare = ({ reference }: Model, real: Real) =>
  expect(real.stats().breaker).toMatchObject({ state: reference.state, ...reference.stats })

class Begin implements fc.AsyncCommand<Model, Real> {
  constructor(readonly stream: boolean) {}
  check = () => true
  async run(model: Model, real: Real): Promise<void> {
    const caller = new AbortController()
    const permit = model.reference.enter()
    const before = real.works.length
    const call = watch(real.ask(this.stream, { signal: caller.signal }))
    await settle()
    const work = real.works[before]
    expect(work !== undefined, 'let through').toBe(permit !== undefined)
    if (work && permit) model.running.push({ caller, permit, call, work })
    else expect(call.error).toMatchObject({ code: 'BREAKER_OPEN' })
    compare(model, real)
  }
  toString = () => (this.stream ? 'begin(stream)' : 'begin')
}

class End implements fc.AsyncCommand<Model, Real> {
  constructor(
    readonly which: number,
    readonly ending: Ending,
  ) {}
  check = ({ running }: Readonly<Model>) => running.length > 0
  async run(model: Model, real: Real): Promise<void> {
    const [one] = model.running.splice(this.which % model.running.length, 1) as [Running]
    const { work, caller, call } = one
    const failure = upstreamError(this.ending === 'ignored' ? 'BAD_REQUEST' : 'SERVER')
    if (this.ending === 'abort') caller.abort()
    else if (!('stream' in work)) {
      if (this.ending === 'ok' || this.ending === 'left') work.open('ok')
      else work.fail(failure)
    } else if (this.ending === 'left') await (call.value as AsyncGenerator).return(undefined)
    else if (this.ending !== 'ok') work.stream.log.fail(failure)
    else {
      // The verdict is at the end of the answer: the delivery of its last chunk.
      work.stream.log.end()
      compare(model, real)
      await (call.value as AsyncGenerator).next()
    }
    await settle()
    model.reference.end(
      one.permit,
      this.ending === 'left' && !('stream' in work) ? 'ok' : this.ending,
    )
    compare(model, real)
  }
  toString = () => `${this.ending}(${this.which})`
}

class Tick implements fc.AsyncCommand<Model, Real> {
  constructor(readonly ms: number) {}
  check = () => true
  async run(model: Model, real: Real): Promise<void> {
    await clock.pass(this.ms)
    model.reference.tick()
    compare(model, real)
  }
  toString = () => `tick(${this.ms})`
}

/** A failure is worth the time that its smallest form takes to find. */
const MINIMIZE_MS = 180_000

describe('breaker', () => {
  it(
    'has the states and the statistics of its reference after every command',
    async () => {
      const endings = fc.constantFrom<Ending>(
        'ok',
        'ok',
        'fail',
        'fail',
        'fail',
        'ignored',
        'abort',
        'left',
      )
      const commands = fc.commands(
        [
          fc.boolean().map((stream) => new Begin(stream)),
          fc.boolean().map((stream) => new Begin(stream)),
          fc.tuple(fc.nat(20), endings).map((of) => new End(...of)),
          fc.tuple(fc.nat(20), endings).map((of) => new End(...of)),
          fc
            .oneof(fc.integer({ min: 1, max: 400 }), fc.constantFrom(100, 699, 700, 1_000))
            .map((ms) => new Tick(ms)),
        ],
        { maxCommands: 80, size: 'max' },
      )
      const rules = fc.record({
        failureRate: fc.constantFrom(0.3, 0.5, 1),
        minimumCalls: fc.integer({ min: 1, max: 4 }),
        windowMs: fc.constant(1_000),
        resetMs: fc.constantFrom(300, 700),
      })
      const seen = { open: 0, 'half-open': 0, closed: 0 }
      await fc.assert(
        fc.asyncProperty(rules, commands, async (rules, commands) => {
          clock = new HistoryClock().install()
          const works: Real['works'] = []
          const base = (stream: boolean, { cancel }: Context): unknown => {
            const work = stream ? driven<unknown>({ committed: true, cancel }) : gate<unknown>()
            works.push(work)
            if (!('stream' in work)) {
              cancel.onAbort(work.fail)
              return work.promise
            }
            work.stream.log.push('chunk')
            return work.stream
          }
          const ask = stack(base, breaker({ ...rules, onStateChange: (state) => seen[state]++ }))
          const real = { ask: ask as unknown as Real['ask'], stats: ask.stats, works }
          await fc.asyncModelRun(
            () => ({ model: { reference: new Reference(rules), running: [] }, real }),
            commands,
          )
          for (const work of works)
            'stream' in work ? work.stream.log.fail(new Error('over')) : work.open('over')
          await ask.close()
          expect(clock.timers).toBe(0)
        }),
        { numRuns: 80 },
      )
      // The histories were worth having.
      for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5)
    },
    MINIMIZE_MS,
  )
})
