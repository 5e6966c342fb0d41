import { describe, expect, it, vi } from 'vitest'
import { base, stack } from '../../../../src/core/index.js'
import { type BreakerOptions, breaker } from '../../../../src/layers/breaker/index.js'
import { around, closeBreakers, kept, SMALL } from '../../../support/breakers.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { down } from '../../../support/upstream.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers({ atEnd: closeBreakers })

/** A stack with a circuit for each model, which opens at the first failure. */
function perModel(options: BreakerOptions = {}) {
  const ask = kept(
    stack(
      async ({ ok }: { model: string; ok: boolean }) => {
        if (!ok) throw down()
      },
      breaker({
        ...SMALL,
        minimumCalls: 1,
        ...options,
        key: (request: { model: string }) => request.model,
      }),
    ),
  )
  const run = (model: string, ok: boolean) => watch(ask({ model, ok }))
  return { ask, run }
}

describe('breaker', () => {
  describe('key', () => {
    it('makes one circuit for each model, and reports the worst state', async () => {
      const { ask, run } = perModel()
      expect(ask.stats().breaker.state).toBe('closed')
      run('a', false)
      run('b', true)
      await tick()
      expect(ask.stats().breaker).toMatchObject({ state: 'open', opened: 1, successes: 1 })
      const [a, b] = [run('a', true), run('b', true)]
      await tick()
      expect(a.error).toMatchObject({ code: 'BREAKER_OPEN' })
      expect(b.state).toBe('resolved')
      await tick(500)
      expect(ask.stats().breaker.state).toBe('half-open')
      run('a', true)
      await tick()
      expect(ask.stats().breaker.state).toBe('closed')
    })

    it('counts the circuits that are not closed or have calls in the window', async () => {
      const { ask, run } = perModel()
      const circuits = () => ask.stats().breaker.circuits
      run('a', false)
      run('b', true)
      run('c', true)
      await tick()
      expect(circuits()).toEqual({ open: 1, halfOpen: 0, total: 3 })
      await tick(500)
      expect(circuits()).toEqual({ open: 0, halfOpen: 1, total: 3 })
      await tick(2_000)
      expect(circuits()).toEqual({ open: 0, halfOpen: 1, total: 1 })
    })

    it("'model' gives one circuit for each model that the base reports", async () => {
      const ask = kept(
        stack(
          base(
            async ({ ok }: { model?: string; ok: boolean }) => {
              if (!ok) throw down()
            },
            { model: ({ model }) => model },
          ),
          breaker({ ...SMALL, minimumCalls: 1, key: 'model' }),
        ),
      )
      const outcome = (model: string | undefined, ok: boolean) =>
        ask({ ...(model !== undefined && { model }), ok }).then(
          () => 'ok',
          (error) => error.code,
        )
      expect(await outcome('a', false)).toBe('SERVER')
      expect(await outcome('a', true)).toBe('BREAKER_OPEN')
      expect(await outcome('b', true)).toBe('ok')
      expect(await outcome(undefined, false)).toBe('SERVER')
      expect(await outcome(undefined, true)).toBe('BREAKER_OPEN')
      expect(await outcome('b', true)).toBe('ok')
    })

    it("'model' gives one circuit for all requests of a base that knows no models", async () => {
      const { run, open, state } = around({ key: 'model' })
      await open()
      await tick(500)
      await run('ok')
      expect(state()).toBe('closed')
    })

    it("'model' gives one circuit, with a warning, when the trait throws", async () => {
      const warnings = catchWarnings()
      const model = () => {
        throw new Error('no model')
      }
      const ask = kept(
        stack(
          base(async () => 1, { model }),
          breaker({ key: 'model' }),
        ),
      )
      expect(await ask()).toBe(1)
      expect(warnings).toEqual(['model() threw Error. The call continued.'])
    })

    it('gives onStateChange the key', async () => {
      const changes: unknown[] = []
      const { run } = perModel({ onStateChange: (state, key) => changes.push([state, key]) })
      run('a', false)
      await tick(500)
      run('a', true)
      await tick()
      expect(changes).toEqual([
        ['open', 'a'],
        ['half-open', 'a'],
        ['closed', 'a'],
      ])
    })

    it('keeps the 1000 most recently used circuits, and no timers of the others', async () => {
      const { run } = perModel()
      run('first', false)
      await tick()
      for (let i = 0; i < 1_200; i++) run(`model ${i}`, true)
      await tick()
      expect(vi.getTimerCount()).toBe(0)
      const again = run('first', true)
      await tick()
      expect(again.state).toBe('resolved')
    })

    it('fails the call with the error that key() throws', async () => {
      const error = new Error('no model')
      const ask = kept(
        stack(
          async () => 1,
          breaker({
            key: () => {
              throw error
            },
          }),
        ),
      )
      expect(await failure(ask())).toBe(error)
    })
  })
})
