import { describe, expect, it } from 'vitest'
import { QueueFullError, TimeoutError } from '../../../../src/core/index.js'
import { around, closeBreakers, fail, halfOpened, held } from '../../../support/breakers.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { down, upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers({ atEnd: closeBreakers })

describe('breaker', () => {
  describe('half-open', () => {
    it('lets exactly one of 50 simultaneous calls through', async () => {
      const { ask, works, answer, state } = await halfOpened()
      const calls = Array.from({ length: 50 }, () => watch(ask('x')))
      await tick()
      expect(works).toHaveLength(5)
      expect(
        calls.filter(
          (call) => (call.error as { code?: string } | undefined)?.code === 'BREAKER_OPEN',
        ),
      ).toHaveLength(49)
      expect(calls[1]!.error).toMatchObject({ retryAfter: 500 })
      await answer(4, 'well again')
      expect(calls[0]!.value).toBe('well again')
      expect(state()).toBe('closed')
    })

    it('opens again for the whole time when the trial fails', async () => {
      const { ask, run, open, state } = around()
      await open()
      await tick(500)
      expect(state()).toBe('half-open')
      await run(fail())
      expect(await failure(ask('ok'))).toMatchObject({ retryAfter: 500 })
      expect(ask.stats().breaker.opened).toBe(2)
    })

    it.each([
      ['a mistake of the caller', upstreamError('BAD_REQUEST')],
      ['a rate limit', upstreamError('RATE_LIMITED')],
      ['a refusal', new QueueFullError(1)],
      ['an unread stream', new TimeoutError(5, { phase: 'read' })],
    ])('does not take %s for a verdict, and gives the permit back', async (_, error) => {
      const { run, open, state, calls } = around()
      await open()
      await tick(500)
      await run(fail(error))
      expect(state()).toBe('half-open')
      await run(fail(error))
      expect(state()).toBe('half-open')
      expect(calls()).toBe(6)
      await run('ok')
      expect(state()).toBe('closed')
    })

    it('gives the permit back when the trial is aborted', async () => {
      const { ask, works, answer, state } = await halfOpened()
      const caller = new AbortController()
      watch(ask('x', { signal: caller.signal }))
      await tick()
      caller.abort()
      await tick()
      expect(state()).toBe('half-open')
      watch(ask('x'))
      await tick()
      expect(works).toHaveLength(6)
      await answer(5)
      expect(state()).toBe('closed')
    })

    it('gives the permit back when the trial has no verdict for resetMs, and does not wait for it', async () => {
      const { ask, works, answer, state } = await halfOpened()
      watch(ask('hangs'))
      await tick(499)
      expect(await failure(ask('x'))).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 1 })
      await tick(1)
      watch(ask('second trial'))
      await tick()
      expect(works).toHaveLength(6)
      await answer(4, 'far too late')
      expect(state()).toBe('half-open')
      await answer(5)
      expect(state()).toBe('closed')
    })

    it('is not closed by the late success of a call that began before the opening', async () => {
      const { ask, works, answer, state } = held()
      const late = watch(ask('x'))
      for (let i = 0; i < 4; i++) watch(ask('x'))
      for (const work of works.slice(1)) work.fail(down())
      await tick(500)
      await answer(0, 'late')
      expect(late.value).toBe('late')
      expect(state()).toBe('half-open')
      expect(ask.stats().breaker.successes).toBe(1)
    })
  })

  it('begins a new window when it closes: one failure does not open it again', async () => {
    const { run, open, state } = around()
    await open()
    await tick(500)
    await run('ok')
    await run(fail(), 3)
    expect(state()).toBe('closed')
    await run(fail())
    expect(state()).toBe('open')
  })
})
