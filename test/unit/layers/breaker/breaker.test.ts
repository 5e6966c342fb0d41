import { describe, expect, it, vi } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { breaker } from '../../../../src/layers/breaker/index.js'
import {
  around,
  closeBreakers,
  fail,
  kept,
  type Outcome,
  SMALL,
  UNTOUCHED,
} from '../../../support/breakers.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate } from '../../../support/gate.js'
import { down } from '../../../support/upstream.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers({ atEnd: closeBreakers })

describe('breaker', () => {
  it('passes answers and failures on unchanged', async () => {
    const { ask } = around()
    const error = down()
    expect(await ask('ok')).toBe('answer')
    expect(await failure(ask(fail(error)))).toBe(error)
    expect(ask.stats().breaker).toEqual({
      ...UNTOUCHED,
      successes: 1,
      failures: 1,
      circuits: { open: 0, halfOpen: 0, total: 1 },
    })
  })

  it('opens by default for 30 s when half of at least 10 calls within 10 s fail', async () => {
    const ask = kept(
      stack(async (outcome: Outcome) => {
        if (outcome !== 'ok') throw outcome.error
      }, breaker()),
    )
    for (let i = 0; i < 5; i++) await ask('ok')
    for (let i = 0; i < 4; i++) await failure(ask(fail()))
    expect(ask.stats().breaker.state).toBe('closed')
    await failure(ask(fail()))
    expect(await failure(ask('ok'))).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 30_000 })
    await tick(29_999)
    await failure(ask('ok'))
    await tick(1)
    await ask('ok')
    expect(ask.stats().breaker.state).toBe('closed')
  })

  it('forgets calls older than its window', async () => {
    const { run, state } = around()
    await run(fail(), 3)
    await tick(1_000)
    await run(fail(), 3)
    expect(state()).toBe('closed')
  })

  it('refuses at once while it is open, without a call upstream, and says when to retry', async () => {
    const { ask, open, calls } = around()
    await open()
    const error = await failure(ask('ok'))
    expect(error).toMatchObject({
      code: 'BREAKER_OPEN',
      status: 503,
      refused: true,
      retryable: false,
      retryAfter: 500,
      layer: 'breaker',
    })
    await tick(200)
    expect(await failure(ask('ok'))).toMatchObject({ retryAfter: 300 })
    expect(calls()).toBe(4)
    expect(ask.stats().breaker).toMatchObject({ rejected: 2, opened: 1, failures: 4 })
  })

  it('refuses the very next call after the failure that opens it', async () => {
    const { ask, run, calls } = around()
    await run(fail(), 3)
    const codes: unknown[] = []
    // Not a microtask between the failure and the next call.
    await ask(fail()).catch(() => ask('ok').catch((error) => codes.push(error.code)))
    expect(codes).toEqual(['BREAKER_OPEN'])
    expect(calls()).toBe(4)
  })

  it('opens at exactly the failure rate', async () => {
    const { run, state } = around()
    await run('ok', 2)
    await run(fail(), 2)
    expect(state()).toBe('open')
  })

  it('opens on a success that completes the minimum of calls', async () => {
    const { run, state } = around()
    await run(fail(), 2)
    await run('ok', 1)
    expect(state()).toBe('closed')
    await run('ok', 1)
    expect(state()).toBe('open')
  })

  it('does not count its own refusals, so they do not lower the failure rate', async () => {
    const { ask, run, open, state } = around()
    await open()
    for (let i = 0; i < 50; i++) await failure(ask('ok'))
    await tick(500)
    await run('ok')
    expect(state()).toBe('closed')
    await run(fail(), 4)
    expect(state()).toBe('open')
  })

  describe('onStateChange', () => {
    it('reports every change once, in order', async () => {
      const changes: unknown[] = []
      const { run, open } = around({ onStateChange: (...change) => changes.push(change) })
      await open()
      await tick(500)
      await run(fail())
      await tick(500)
      await run('ok')
      expect(changes).toEqual(
        ['open', 'half-open', 'open', 'half-open', 'closed'].map((state) => [state, undefined]),
      )
    })

    it('costs only a warning when it throws', async () => {
      const said = catchWarnings()
      const error = down()
      const { ask, run, open, state } = around({
        onStateChange: () => {
          throw named('OnStateChangeIsBroken')
        },
      })
      await open()
      await tick(500)
      expect(await failure(ask(fail(error)))).toBe(error)
      await tick(500)
      await run('ok')
      expect(state()).toBe('closed')
      expect(said.join()).toContain('OnStateChangeIsBroken')
    })
  })

  describe('closing', () => {
    it('clears its timer, with and without a key', async () => {
      const failing = async (_: string) => {
        throw down()
      }
      const one = stack(failing, breaker({ minimumCalls: 1 }))
      const many = stack(failing, breaker({ minimumCalls: 1, key: (key: string) => key }))
      for (const call of [one('x'), many('a'), many('b')]) await failure(call)
      await tick()
      expect(vi.getTimerCount()).toBe(1)
      await Promise.all([one.close(), many.close()])
      expect(vi.getTimerCount()).toBe(0)
    })

    it('starts no new timer for a trial that ends after the stack has closed', async () => {
      const work = gate<string>()
      let calls = 0
      const ask = stack(
        async () => {
          if (calls++ === 0) throw down()
          return work.promise
        },
        breaker({ ...SMALL, minimumCalls: 1 }),
      )
      await failure(ask())
      await tick(500)
      const trial = watch(ask())
      const closed = watch(ask.close({ timeoutMs: 0 }))
      await tick(2_000)
      expect(trial.error).toMatchObject({ code: 'CLOSED' })
      expect(closed.state).toBe('resolved')
      work.open('heeds no signal')
      await tick()
      expect(vi.getTimerCount()).toBe(0)
    })

    it('keeps its state while another stack still uses it', async () => {
      const layer = breaker({ ...SMALL, minimumCalls: 1 })
      const base = async () => {
        throw down()
      }
      const one = stack(base, layer)
      const other = kept(stack(base, layer))
      await failure(one())
      await one.close()
      expect(await failure(other())).toMatchObject({ code: 'BREAKER_OPEN' })
    })
  })

  describe('options', () => {
    it.each([
      ['a failureRate of 0', { failureRate: 0 }, '"failureRate"'],
      ['a failureRate in percent', { failureRate: 50 }, '"failureRate"'],
      ['a failureRate of NaN', { failureRate: Number.NaN }, '"failureRate"'],
      ['a minimum of 0 calls', { minimumCalls: 0 }, '"minimumCalls"'],
      ['half a call', { minimumCalls: 1.5 }, '"minimumCalls"'],
      ['a window of 0', { windowMs: 0 }, '"windowMs"'],
      ['a window of a month', { windowMs: 30 * 24 * 3_600_000 }, '"windowMs"'],
      ['a negative resetMs', { resetMs: -1 }, '"resetMs"'],
      ['a resetMs beyond what a timer holds', { resetMs: 2 ** 31 }, '"resetMs"'],
      ['a key that is neither "model" nor a function', { key: 'tenant' }, '"key"'],
      ["opossum's own options", { errorThresholdPercentage: 50 }, '"errorThresholdPercentage"'],
    ])('refuses %s', (_, options, words) => {
      expect(() => breaker(options as never)).toThrow(configError(words, 'breaker'))
    })
  })

  it('says so when it is placed inside a queue or a pool', () => {
    const { hooks } = breaker()
    expect(hooks.outside).toMatchObject({ queue: expect.any(String), pool: expect.any(String) })
    hooks.close?.()
  })
})
