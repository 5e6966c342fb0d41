import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { type Permit, Trials } from '../../../../src/layers/breaker/trials.js'
import { useFakeTimers } from '../../../support/fake-timers.js'

useFakeTimers()

const NEVER = Number.POSITIVE_INFINITY

function trials(count: number, failureRate = 0.5, slowRate = NEVER) {
  const all = new Trials(count, { failureRate, slowRate })
  const enter = (): Permit => {
    const permit = all.enter(7, 500)
    if (typeof permit === 'number') throw new Error(`Refused for ${permit} ms.`)
    return permit
  }
  return { all, enter }
}

describe('Trials', () => {
  it('lets through as many calls as there are trials', () => {
    const { all, enter } = trials(3)
    const permits = [enter(), enter(), enter()]
    expect(permits.map(({ period, trial }) => [period, trial])).toEqual([
      [7, true],
      [7, true],
      [7, true],
    ])
    vi.advanceTimersByTime(100)
    expect(all.enter(7, 500)).toBe(400)
  })

  it('does not replace a trial that has ended with a verdict', () => {
    const { all, enter } = trials(2)
    all.settle(enter(), 'success', false)
    enter()
    expect(all.enter(7, 500)).toBe(500)
  })

  it('replaces a trial that has ended without a verdict', () => {
    const { all, enter } = trials(2)
    enter()
    all.settle(enter(), undefined, false)
    enter()
    expect(all.enter(7, 500)).toBe(500)
  })

  it('replaces the oldest trial when it has no verdict in time, and no longer counts it', () => {
    const { all, enter } = trials(2)
    const oldest = enter()
    vi.advanceTimersByTime(200)
    const other = enter()
    vi.advanceTimersByTime(300)
    const late = enter()
    expect(all.enter(7, 500)).toBe(200)
    expect(all.settle(oldest, 'failure', false)).toBeUndefined()
    expect(all.settle(other, 'success', false)).toBeUndefined()
    expect(all.settle(late, 'success', false)).toBe('closed')
  })

  it.each([
    [1, 0.5, ['failure'], 'open'],
    [1, 0.5, ['success'], 'closed'],
    [4, 0.5, ['failure', 'failure'], 'open'],
    [4, 0.5, ['failure', 'success', 'failure'], 'open'],
    [4, 0.5, ['success', 'success', 'success'], 'closed'],
    [4, 0.5, ['failure', 'success', 'success', 'success'], 'closed'],
    [4, 1, ['success'], 'closed'],
    [4, 1, ['failure', 'failure', 'failure', 'failure'], 'open'],
    [3, 0.1, ['success', 'success', 'success'], 'closed'],
    [3, 0.1, ['failure'], 'open'],
  ] as const)(
    'with %i trials at a rate of %d, decides only after %j that the circuit is %s',
    (count, failureRate, verdicts, state) => {
      const { all, enter } = trials(count, failureRate)
      const said = verdicts.map((verdict) => all.settle(enter(), verdict, false))
      expect(said).toEqual([...verdicts.slice(1).map(() => undefined), state])
    },
  )

  it('judges slow trials by their own rate', () => {
    const { all, enter } = trials(4, 1, 0.5)
    expect(all.settle(enter(), 'success', true)).toBeUndefined()
    expect(all.settle(enter(), 'success', false)).toBeUndefined()
    expect(all.settle(enter(), 'success', true)).toBe('open')
  })

  it('does not close while running trials could still turn out slow', () => {
    const { all, enter } = trials(3, 1, 0.5)
    expect(all.settle(enter(), 'success', false)).toBeUndefined()
    expect(all.settle(enter(), 'success', false)).toBe('closed')
  })

  it('starts over when it is cleared, and ignores the verdicts of earlier trials', () => {
    const { all, enter } = trials(2, 1)
    const before = enter()
    all.settle(enter(), 'failure', false)
    all.clear()
    expect(all.settle(before, 'failure', false)).toBeUndefined()
    all.settle(enter(), 'failure', false)
    expect(all.settle(enter(), 'failure', false)).toBe('open')
  })

  it('decides by the rate over all trials, as soon as the rest cannot change the outcome', () => {
    const verdict = fc.record({ failed: fc.boolean(), slow: fc.boolean() })
    const rate = fc.constantFrom(0.1, 0.3, 0.5, 0.9, 1)
    fc.assert(
      fc.property(
        fc.array(verdict, { minLength: 1, maxLength: 12 }),
        rate,
        fc.oneof(rate, fc.constant(NEVER)),
        (verdicts, failureRate, slowRate) => {
          const { all, enter } = trials(verdicts.length, failureRate, slowRate)
          const count = (of: typeof verdicts, what: 'failed' | 'slow') =>
            of.filter((one) => one[what]).length
          const opens = (of: typeof verdicts) =>
            (count(of, 'failed') > 0 && count(of, 'failed') / verdicts.length >= failureRate) ||
            (count(of, 'slow') > 0 && count(of, 'slow') / verdicts.length >= slowRate)
          for (let i = 1; i <= verdicts.length; i++) {
            const { failed, slow } = verdicts[i - 1]!
            const known = verdicts.slice(0, i)
            const worst = [...known, ...verdicts.slice(i).map(() => ({ failed: true, slow: true }))]
            const state = all.settle(enter(), failed ? 'failure' : 'success', slow)
            expect(state).toBe(opens(known) ? 'open' : opens(worst) ? undefined : 'closed')
            if (state !== undefined) return
          }
          expect.fail('Nothing was decided.')
        },
      ),
    )
  })
})
