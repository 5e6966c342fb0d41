import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Context, stack } from '../../src/core/index.js'
import { type BreakerLayer, type BreakerState, breaker } from '../../src/layers/breaker/index.js'
import { type Gate, gate } from '../support/gate.js'
import { MINIMIZE_MS, settle, useHistoryClock } from '../support/history-clock.js'
import { type Driven, driven } from '../support/streams.js'
import { upstreamError } from '../support/upstream.js'
import { type Watched, watch } from '../support/watch.js'
import { command, type RealStack } from './command.js'

const clock = useHistoryClock()

/** How a call ends. `left`: a stream's reader goes early. */
type Ending = 'ok' | 'fail' | 'ignored' | 'abort' | 'left'
interface Rules {
  readonly failureRate: number
  readonly minimumCalls: number
  readonly windowMs: number
  readonly trials: number
  readonly slowMs: number | undefined
  /** Of the first opening; of the next ones in a row twice and three times that. */
  readonly resetMs: number
}
interface Permit {
  readonly period: number
  readonly trial: { readonly at: number } | undefined
  readonly at: number
}
interface Verdict {
  readonly failed: boolean
  readonly slow: boolean
}

/** What a breaker should be, as plainly as can be said. */
class Reference {
  state: BreakerState = 'closed'
  readonly stats = { successes: 0, failures: 0, slow: 0, rejected: 0, opened: 0 }
  #period = 0
  #since = 0
  #openings = 0
  #isIsolated = false
  /** Trials that run, and the verdicts on those that have ended. */
  #trials: object[] = []
  #tried: Verdict[] = []
  #verdicts: (Verdict & { tenth: number })[] = []
  readonly #rules: Rules

  constructor(rules: Rules) {
    this.#rules = rules
  }

  get #resetMs(): number {
    return this.#rules.resetMs * Math.min(3, this.#openings)
  }

  tick(): void {
    const isDue = performance.now() >= this.#since + this.#resetMs
    if (this.state === 'open' && isDue && !this.#isIsolated) this.state = 'half-open'
  }

  enter(): Permit | undefined {
    const at = performance.now()
    if (this.state === 'closed') return { period: this.#period, trial: undefined, at }
    if (this.state === 'half-open') {
      const isFull = this.#trials.length + this.#tried.length >= this.#rules.trials
      const oldest = this.#trials[0] as { at: number } | undefined
      if (isFull && oldest && at >= oldest.at + this.#resetMs) this.#trials.shift()
      if (this.#trials.length + this.#tried.length < this.#rules.trials) {
        const trial = { at }
        this.#trials.push(trial)
        return { period: this.#period, trial, at }
      }
    }
    this.stats.rejected++
    return undefined
  }

  end({ period, trial, at }: Permit, ending: Ending, isStream: boolean): void {
    const { slowMs, windowMs } = this.#rules
    // A stream of this test has its first token at once.
    const slow = slowMs !== undefined && !isStream && performance.now() - at > slowMs
    const isVerdict = ending === 'ok' || ending === 'fail'
    const failed = ending === 'fail'
    if (isVerdict) this.stats[failed ? 'failures' : 'successes']++
    if (isVerdict && slow) this.stats.slow++
    if (period !== this.#period) return
    if (trial !== undefined) {
      if (!this.#trials.includes(trial)) return
      this.#trials = this.#trials.filter((one) => one !== trial)
      return isVerdict ? this.#endTrial({ failed, slow }) : undefined
    }
    if (!isVerdict) return
    const tenth = Math.floor((performance.now() - this.#since) / (windowMs / 10))
    this.#verdicts.push({ tenth, failed, slow })
    const recent = this.#verdicts.filter((verdict) => verdict.tenth > tenth - 10)
    if (recent.length >= this.#rules.minimumCalls && this.#opens(recent)) this.#turn('open')
  }

  #endTrial(verdict: Verdict): void {
    this.#tried.push(verdict)
    const left = this.#rules.trials - this.#tried.length
    const all = (rest: Verdict) => [...this.#tried, ...Array.from({ length: left }, () => rest)]
    if (this.#opens(all({ failed: false, slow: false }))) this.#turn('open')
    else if (!this.#opens(all({ failed: true, slow: this.#rules.slowMs !== undefined })))
      this.#turn('closed')
  }

  #opens(verdicts: readonly Verdict[]): boolean {
    const share = (what: keyof Verdict) =>
      verdicts.filter((verdict) => verdict[what]).length / verdicts.length
    // `slowRate` is half by default.
    return share('failed') >= this.#rules.failureRate || share('slow') >= 0.5
  }

  isolate(): void {
    if (this.state !== 'open') this.#turn('open')
    this.#isIsolated = true
  }

  reset(): void {
    this.#turn('closed')
  }

  #turn(state: 'open' | 'closed'): void {
    if (state === 'open') {
      this.stats.opened++
      this.#openings++
    } else this.#openings = 0
    this.state = state
    this.#isIsolated = false
    this.#period++
    this.#since = performance.now()
    this.#trials = []
    this.#tried = []
    this.#verdicts = []
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
interface Real extends RealStack<boolean, { breaker: object }> {
  readonly layer: BreakerLayer<'breaker'>
  readonly works: (Gate<unknown> | Driven<unknown>)[]
}

const compare = ({ reference }: Model, real: Real) => {
  expect(real.stats().breaker).toMatchObject({ state: reference.state, ...reference.stats })
  expect(real.layer.state()).toBe(reference.state)
}

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
      'stream' in work,
    )
    compare(model, real)
  }
  toString = () => `${this.ending}(${this.which})`
}

const tick = (ms: number) =>
  command<Model, Real>(`tick(${ms})`, async (model, real) => {
    await clock.pass(ms)
    model.reference.tick()
    compare(model, real)
  })

const byHand = (method: 'isolate' | 'reset') =>
  command<Model, Real>(`${method}()`, async (model, real) => {
    real.layer[method]()
    model.reference[method]()
    compare(model, real)
  })

describe('breaker', () => {
  it(
    'matches the states and statistics of its reference model after every command',
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
            .map(tick),
          fc.constantFrom('isolate' as const, 'reset' as const, 'reset' as const).map(byHand),
        ],
        { maxCommands: 80, size: 'max' },
      )
      const rules = fc.record({
        failureRate: fc.constantFrom(0.3, 0.5, 1),
        minimumCalls: fc.integer({ min: 1, max: 4 }),
        windowMs: fc.constant(1_000),
        trials: fc.integer({ min: 1, max: 3 }),
        slowMs: fc.constantFrom(undefined, 150),
        resetMs: fc.constantFrom(300, 700),
      })
      const seen = { open: 0, 'half-open': 0, closed: 0 }
      await fc.assert(
        fc.asyncProperty(rules, commands, async (rules, commands) => {
          clock.install()
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
          const layer = breaker({
            ...rules,
            resetMs: (openings) => rules.resetMs * Math.min(3, openings),
            onStateChange: (state) => seen[state]++,
          })
          const ask = stack(base, layer)
          const real = { ask: ask as unknown as Real['ask'], stats: ask.stats, layer, works }
          await fc.asyncModelRun(
            () => ({ model: { reference: new Reference(rules), running: [] }, real }),
            commands,
          )
          for (const work of works)
            'stream' in work ? work.stream.log.fail(new Error('over')) : work.open('over')
          await ask.close()
          expect(clock.timers).toBe(0)
        }),
        { numRuns: 160 },
      )
      // The histories were worth having.
      for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5)
    },
    MINIMIZE_MS,
  )
})
