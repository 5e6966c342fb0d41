import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CallOptions } from '../../../../src/core/index.js'
import type { BreakerState } from '../../../../src/layers/breaker/index.js'
import { closeBreakers, held } from '../../../support/breakers.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import type { Gate } from '../../../support/gate.js'
import { down, upstreamError } from '../../../support/upstream.js'
import { watch } from '../../../support/watch.js'

useFakeTimers({ atEnd: closeBreakers })

describe('breaker', () => {
  describe('against a reference', () => {
    const RULES = { failureRate: 0.5, minimumCalls: 2, windowMs: 1_000, resetMs: 700 }
    type Verdict = 'ok' | 'fail' | 'ignored' | 'abort'

    /** What a breaker should be, as plainly as can be said. */
    class Reference {
      state: BreakerState = 'closed'
      #window = {}
      #began = performance.now()
      #openedAt = 0
      #trial: { at: number } | undefined
      #verdicts: { slice: number; failed: boolean }[] = []

      /** Tenths of the window since it began. */
      get #slice() {
        return Math.floor((performance.now() - this.#began) / (RULES.windowMs / 10))
      }

      tick() {
        if (this.state === 'open' && performance.now() >= this.#openedAt + RULES.resetMs)
          this.state = 'half-open'
      }

      enter() {
        if (this.state === 'open') return undefined
        if (this.state === 'closed') return { window: this.#window, trial: undefined }
        if (this.#trial && performance.now() < this.#trial.at + RULES.resetMs) return undefined
        this.#trial = { at: performance.now() }
        return { window: this.#window, trial: this.#trial }
      }

      settle({ window, trial }: { window: object; trial: object | undefined }, verdict: Verdict) {
        if (window !== this.#window || trial !== (trial && this.#trial)) return
        if (trial) this.#trial = undefined
        if (verdict === 'ignored' || verdict === 'abort') return
        if (trial) return verdict === 'ok' ? this.#close() : this.#open()
        this.#verdicts.push({ slice: this.#slice, failed: verdict === 'fail' })
        const recent = this.#verdicts.filter(({ slice }) => slice > this.#slice - 10)
        const failures = recent.filter(({ failed }) => failed).length
        if (
          failures > 0 &&
          recent.length >= RULES.minimumCalls &&
          failures / recent.length >= RULES.failureRate
        )
          this.#open()
      }

      #open() {
        this.state = 'open'
        this.#openedAt = performance.now()
        this.#window = {}
        this.#trial = undefined
      }

      #close() {
        this.state = 'closed'
        this.#window = {}
        this.#began = performance.now()
        this.#verdicts = []
      }
    }

    interface Running {
      readonly work: Gate<string>
      readonly caller: AbortController
      readonly permit: { window: object; trial: object | undefined }
    }
    interface Model {
      readonly reference: Reference
      running: Running[]
    }
    interface Real {
      ask(request: string, options: CallOptions): Promise<string>
      state(): BreakerState
      works: Gate<string>[]
    }

    class Begin implements fc.AsyncCommand<Model, Real> {
      check = () => true
      async run(model: Model, real: Real) {
        const permit = model.reference.enter()
        const caller = new AbortController()
        const before = real.works.length
        const call = watch(real.ask('x', { signal: caller.signal }))
        await tick()
        const work = real.works[before]
        expect(work !== undefined, 'let through').toBe(permit !== undefined)
        if (permit && work) model.running.push({ work, caller, permit })
        else expect(call.error).toMatchObject({ code: 'BREAKER_OPEN' })
        expect(real.state()).toBe(model.reference.state)
      }
      toString = () => 'begin'
    }

    class Settle implements fc.AsyncCommand<Model, Real> {
      readonly which: number
      readonly verdict: Verdict
      constructor(which: number, verdict: Verdict) {
        this.which = which
        this.verdict = verdict
      }
      check = (model: Readonly<Model>) => model.running.length > 0
      async run(model: Model, real: Real) {
        const [{ work, caller, permit }] = model.running.splice(
          this.which % model.running.length,
          1,
        ) as [Running]
        if (this.verdict === 'ok') work.open('ok')
        else if (this.verdict === 'fail') work.fail(down())
        else if (this.verdict === 'ignored') work.fail(upstreamError('BAD_REQUEST'))
        else caller.abort()
        await tick()
        model.reference.settle(permit, this.verdict)
        expect(real.state()).toBe(model.reference.state)
      }
      toString = () => `${this.verdict}(${this.which})`
    }

    class Tick implements fc.AsyncCommand<Model, Real> {
      readonly ms: number
      constructor(ms: number) {
        this.ms = ms
      }
      check = () => true
      async run(model: Model, real: Real) {
        await tick(this.ms)
        model.reference.tick()
        expect(real.state()).toBe(model.reference.state)
      }
      toString = () => `tick(${this.ms})`
    }

    it('has the same state after every command, for any sequence of them', async () => {
      const commands = fc.commands(
        [
          fc.constant(new Begin()),
          fc.constant(new Begin()),
          fc
            .tuple(fc.nat(20), fc.constantFrom<Verdict>('ok', 'fail', 'fail', 'ignored', 'abort'))
            .map((of) => new Settle(...of)),
          fc
            .tuple(fc.nat(20), fc.constantFrom<Verdict>('ok', 'fail', 'fail', 'ignored', 'abort'))
            .map((of) => new Settle(...of)),
          fc
            .oneof(fc.integer({ min: 1, max: 400 }), fc.constantFrom(100, 699, 700, 1_000))
            .map((ms) => new Tick(ms)),
        ],
        { maxCommands: 60, size: 'max' },
      )
      const changes: BreakerState[] = []
      await fc.assert(
        fc.asyncProperty(commands, async (commands) => {
          const { ask, works, state } = held({
            ...RULES,
            onStateChange: (state) => changes.push(state),
          })
          const real: Real = { ask, works, state }
          await fc.asyncModelRun(
            () => ({ model: { reference: new Reference(), running: [] }, real }),
            commands,
          )
          for (const work of works) work.open('over')
          await ask.close()
        }),
        { numRuns: 80 },
      )
      // The histories were worth having.
      for (const state of ['open', 'half-open', 'closed'])
        expect(changes.filter((change) => change === state).length).toBeGreaterThan(10)
    })
  })
})
