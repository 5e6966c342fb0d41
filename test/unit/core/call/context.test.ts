import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancel, type Context, type SharedWork, stack } from '../../../../src/core/index.js'
import { useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

/** The context of a call that has ended. */
const contextOf = async (
  options: Parameters<ReturnType<typeof stack>>[1] = {},
): Promise<Context> => {
  const probe = spy()
  await stack(async () => 1, probe)(undefined, options)
  return probe.context
}

describe('Context', () => {
  it('carries the options the caller gives', async () => {
    const meta = new Map()
    const { signal } = new AbortController()
    const context = await contextOf({
      priority: 5,
      tenant: 'acme',
      cache: 'reload',
      meta,
      signal,
      timeoutMs: 100,
    })
    expect(context).toMatchObject({ priority: 5, tenant: 'acme', cache: 'reload' })
    expect(context.meta).toBe(meta)
    expect(context.deadline).toBe(performance.now() + 100)
  })

  it('uses defaults for the options the caller leaves out', async () => {
    const context = await contextOf()
    expect(context).toMatchObject({
      priority: 0,
      tenant: undefined,
      cache: 'default',
      transport: undefined,
    })
    expect(context.deadline).toBe(Number.POSITIVE_INFINITY)
    expect(context.meta).toEqual(new Map())
    expect(context.signal.aborted).toBe(false)
    expect(context.closing.aborted).toBe(false)
  })

  it('adds up the time its call has waited, whichever context reports it', async () => {
    const context = await contextOf()
    expect(context.waitedMs).toBe(0)
    context.addWait(30)
    const inner = context.derive({ priority: 1 }).derive({ deadline: 5 })
    inner.addWait(12)
    expect([context.waitedMs, inner.waitedMs]).toEqual([42, 42])
    expect((await contextOf()).waitedMs).toBe(0)
  })

  it('shares one map of notes among all contexts of a call, but not between calls', async () => {
    const context = await contextOf()
    context.derive({ priority: 1 }).meta.set('retry', { attempts: 2 })
    expect(context.meta.get('retry')).toEqual({ attempts: 2 })
    expect((await contextOf()).meta.size).toBe(0)
  })

  describe('derive()', () => {
    it('makes a narrower context and leaves the original unchanged', async () => {
      const context = await contextOf({ tenant: 'acme', cache: 'no-store', priority: 1 })
      const cancel = new Cancel()
      const transport = { baseURL: 'http://localhost', member: 2 }
      const inner = context.derive({ cancel, priority: 9, transport })
      expect(inner).toMatchObject({ priority: 9, tenant: 'acme', cache: 'no-store', transport })
      expect(inner.cancel).toBe(cancel)
      expect(inner.signal).toBe(cancel.signal)
      expect(inner.base).toBe(context.base)
      expect(context).toMatchObject({ priority: 1, transport: undefined })
      expect(context.cancel).not.toBe(cancel)
    })

    it('keeps whatever it is not asked to change', async () => {
      const context = (await contextOf({ priority: 3, timeoutMs: 50 })).derive({
        transport: { member: 1 },
      })
      const inner = context.derive({})
      expect(inner).toMatchObject({
        priority: 3,
        transport: { member: 1 },
        deadline: context.deadline,
      })
      expect(inner.cancel).toBe(context.cancel)
    })

    it('tells inner layers whether a call is optional, where it must not go, and its retry budget', async () => {
      const context = await contextOf()
      expect(context).toMatchObject({ optional: false, elsewhere: [], retryBudget: undefined })
      const retryBudget = { take: () => true, giveBack: () => {} }
      const inner = context.derive({ optional: true, elsewhere: [1], retryBudget }).derive({})
      expect(inner).toMatchObject({ optional: true, elsewhere: [1] })
      expect(inner.retryBudget).toBe(retryBudget)
    })

    it('only tightens the deadline', async () => {
      const context = await contextOf({ deadline: 1000 })
      expect(context.derive({ deadline: 5000 }).deadline).toBe(1000)
      expect(context.derive({ deadline: 500 }).deadline).toBe(500)
      expect(context.derive({ deadline: 500 }).derive({ deadline: 800 }).deadline).toBe(500)
      expect(context.derive({ deadline: 500 }).derive({}).deadline).toBe(500)
    })
  })
})

describe('detach()', () => {
  /**
   * Shared work, and callers with deadlines of their own; the calls around them never end by
   * themselves.
   */
  const setUp = (...timeoutsMs: (number | undefined)[]) => {
    const probe = spy()
    const ask = stack(() => never(), probe)
    const callers = timeoutsMs.map((timeoutMs) => {
      const controller = new AbortController()
      watch(ask('x', { timeoutMs, signal: controller.signal, tenant: 'acme', priority: 4 }))
      return { context: probe.context, controller }
    })
    const work: SharedWork = callers[0]!.context.detach()
    const stop = async () => {
      for (const { controller } of callers) controller.abort()
      work.end()
      await vi.advanceTimersByTimeAsync(0)
    }
    return { work, callers, stop }
  }

  it('ignores the cancellation of its callers, has its own notes, and keeps what identifies the caller', async () => {
    const { work, callers, stop } = setUp(100)
    const [caller] = callers
    expect(work.context).toMatchObject({ tenant: 'acme', priority: 4, cache: 'default' })
    expect(work.context.base).toBe(caller!.context.base)
    expect(work.context.closing).toBe(caller!.context.closing)
    expect(work.context.deadline).toBe(Number.POSITIVE_INFINITY)
    caller!.controller.abort('gone')
    expect(caller!.context.cancel.aborted).toBe(true)
    expect(work.context.cancel.aborted).toBe(false)
    work.context.meta.set('note', 1)
    expect(caller!.context.meta.has('note')).toBe(false)
    await stop()
  })

  it('has the latest deadline of the callers still waiting', async () => {
    const { work, callers, stop } = setUp(100, 300, 200)
    const [a, b, c] = callers
    const inner = work.context.derive({ priority: 1 })
    const now = performance.now()
    work.join(a!)
    expect(work.context.deadline).toBe(now + 100)
    work.join(b!)
    expect(work.context.deadline).toBe(now + 300)
    work.join(c!)
    expect(inner.deadline).toBe(now + 300)
    work.leave(b!, 'gone')
    expect(inner.deadline).toBe(now + 200)
    expect(work.context.derive({ deadline: now + 50 }).deadline).toBe(now + 50)
    await stop()
  })

  it('has no deadline while a caller without one is waiting', async () => {
    const { work, callers, stop } = setUp(100, undefined)
    for (const caller of callers) work.join(caller)
    expect(work.context.deadline).toBe(Number.POSITIVE_INFINITY)
    work.leave(callers[1]!)
    expect(work.context.deadline).toBe(performance.now() + 100)
    await stop()
  })

  it('is aborted only when the last caller leaves, with the reason of that caller', async () => {
    const { work, callers, stop } = setUp(undefined, undefined)
    for (const caller of callers) work.join(caller)
    work.leave(callers[0]!, 'first')
    work.leave(callers[0]!, 'first again')
    expect(work.context.cancel.aborted).toBe(false)
    work.leave(callers[1]!, 'last')
    expect(work.context.cancel.aborted).toBe(true)
    expect(work.context.signal.reason).toBe('last')
    await stop()
  })

  it('is not aborted by callers who leave after it has ended', async () => {
    const { work, callers, stop } = setUp(undefined)
    work.join(callers[0]!)
    work.end()
    work.leave(callers[0]!, 'late')
    expect(work.context.cancel.aborted).toBe(false)
    await stop()
  })

  it('counts the callers still waiting', async () => {
    const { work, callers, stop } = setUp(undefined, undefined)
    for (const caller of callers) work.join(caller)
    expect(work.callers).toBe(2)
    work.leave(callers[0]!)
    work.leave(callers[0]!)
    expect(work.callers).toBe(1)
    await stop()
  })

  it('is aborted with an AbortError when the last caller leaves without a reason', async () => {
    const { work, callers, stop } = setUp(undefined)
    work.join(callers[0]!)
    work.leave(callers[0]!)
    expect(work.context.cancel.reason).toMatchObject({ name: 'AbortError' })
    await stop()
  })

  it('copies its notes to the contexts it is told to', async () => {
    const { work, callers, stop } = setUp(undefined, undefined)
    work.tell(callers[0]!.context)
    work.context.meta.set('retry', { attempts: 2 })
    work.context.derive({}).meta.set('pool', { member: 1 })
    for (const { context } of callers) work.tell(context)
    for (const { context } of callers) {
      expect([...context.meta]).toEqual([
        ['retry', { attempts: 2 }],
        ['pool', { member: 1 }],
      ])
    }
    await stop()
  })

  it('keeps close() waiting until it has ended', async () => {
    const probe = spy()
    const ask = stack(async () => 1, probe)
    await ask()
    const work = probe.context.detach()
    const closed = watch(ask.close())
    await vi.advanceTimersByTimeAsync(1000)
    expect(closed.state).toBe('pending')
    expect(work.context.closing.aborted).toBe(true)
    work.end()
    work.end()
    await vi.advanceTimersByTimeAsync(0)
    expect(closed.state).toBe('resolved')
    expect(work.context.cancel.aborted).toBe(false)
  })

  it('is cut off by close() with CLOSED when it takes too long', async () => {
    const probe = spy()
    const ask = stack(async () => 1, probe)
    await ask()
    const work = probe.context.detach()
    const cut = gate<unknown>()
    work.context.cancel.onAbort((reason) => {
      cut.open(reason)
      work.end()
    })
    const closed = watch(ask.close({ timeoutMs: 500 }))
    await vi.advanceTimersByTimeAsync(500)
    expect(await cut.promise).toMatchObject({ code: 'CLOSED', refused: false })
    expect(closed.state).toBe('resolved')
  })
})
