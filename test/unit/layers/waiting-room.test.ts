import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { Cancel, type Context, TimeoutError } from '../../../src/core/index.js'
import { WaitingRoom } from '../../../src/layers/waiting-room.js'
import { tick, useFakeTimers } from '../../support/fake-timers.js'
import { watch } from '../../support/watch.js'

useFakeTimers()

const layer = 'queue'

/** What the room reads of a context, and nothing more. */
function caller(of: { deadline?: number; priority?: number } = {}) {
  return {
    cancel: new Cancel(),
    closing: new Cancel(),
    deadline: Number.POSITIVE_INFINITY,
    priority: 0,
    addWait: () => {},
    ...of,
  }
}
const makeRoom = (maxWaiting = 10, maxWaitMs?: number) =>
  new WaitingRoom({ layer, maxWaiting, maxWaitMs })
const enter = (room: WaitingRoom, of: ReturnType<typeof caller> = caller()) =>
  watch(room.wait(of as unknown as Context))

describe('WaitingRoom', () => {
  it('keeps every call until it is called', async () => {
    const room = makeRoom()
    const calls = [enter(room), enter(room)]
    await tick(1_000_000)
    expect(room.waiting).toBe(2)
    expect(calls.map(({ state }) => state)).toEqual(['pending', 'pending'])
  })

  it('calls exactly one, before callNext() returns', async () => {
    const room = makeRoom()
    const calls = [enter(room), enter(room), enter(room)]
    expect(room.callNext()).toBe(true)
    expect(room.waiting).toBe(2)
    await tick()
    expect(calls.map(({ state }) => state)).toEqual(['resolved', 'pending', 'pending'])
  })

  it('calls as many as it is told to within one turn of the loop', async () => {
    const room = makeRoom(100)
    const calls = Array.from({ length: 20 }, () => enter(room))
    for (let i = 1; i <= 7; i++) {
      expect(room.callNext()).toBe(true)
      expect(room.waiting).toBe(20 - i)
    }
    await tick()
    expect(calls.filter(({ state }) => state === 'resolved')).toHaveLength(7)
    expect(calls.slice(0, 7).every(({ state }) => state === 'resolved')).toBe(true)
    expect(room.callNext()).toBe(true)
    await tick()
    expect(calls.filter(({ state }) => state === 'resolved')).toHaveLength(8)
  })

  it('says when nobody waits', () => {
    const room = makeRoom()
    expect(room.callNext()).toBe(false)
    enter(room)
    expect(room.callNext()).toBe(true)
    expect(room.callNext()).toBe(false)
  })

  it('does not save up a call made while nobody waits', async () => {
    const room = makeRoom()
    room.callNext()
    const call = enter(room)
    await tick()
    expect(call.state).toBe('pending')
  })

  it('is full when its limit waits, and has room again when one has left', () => {
    const room = makeRoom(2)
    room.admit()
    enter(room)
    room.admit()
    const second = caller()
    enter(room, second)
    expect(() => room.admit(40)).toThrow(
      expect.objectContaining({ code: 'QUEUE_FULL', limit: 2, layer, retryAfter: 40 }),
    )
    second.cancel.abort('enough')
    expect(() => room.admit()).not.toThrow()
  })

  it('lets an aborted one leave at once, with the reason as it is', async () => {
    const room = makeRoom()
    const of = caller()
    const call = enter(room, of)
    of.cancel.abort('enough')
    expect(room.waiting).toBe(0)
    expect(room.callNext()).toBe(false)
    await tick()
    expect(call.error).toBe('enough')
    expect(of.cancel.watched || of.closing.watched).toBe(false)
  })

  it('lets one in that is aborted already, and out again', async () => {
    const room = makeRoom()
    const of = caller()
    of.cancel.abort('before')
    const call = enter(room, of)
    expect(room.waiting).toBe(0)
    await tick()
    expect(call.error).toBe('before')
  })

  it.each(['before', 'after'])(
    'turns those away whose stack closes, %s they came',
    async (when) => {
      const room = makeRoom()
      const of = caller()
      if (when === 'before') of.closing.abort('closing')
      const call = enter(room, of)
      if (when === 'after') of.closing.abort('closing')
      expect(room.waiting).toBe(0)
      await tick()
      expect(call.error).toMatchObject({ code: 'CLOSED', refused: true, layer })
      expect(of.cancel.watched).toBe(false)
    },
  )

  it('leaves no listener behind when a call has been called', async () => {
    const room = makeRoom()
    const of = caller({ deadline: 1_000 })
    enter(room, of)
    room.callNext()
    expect(of.cancel.watched || of.closing.watched).toBe(false)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('lets nobody wait longer than maxWaitMs', async () => {
    const room = makeRoom(10, 100)
    const call = enter(room)
    await tick(99)
    expect(call.state).toBe('pending')
    await tick(1)
    const timedOut = { code: 'TIMEOUT', phase: 'queue', refused: true, ms: 100, layer }
    expect(call.error).toMatchObject(timedOut)
    expect(room.waiting).toBe(0)
  })

  it('turns away whose deadline comes, a moment before it', async () => {
    const room = makeRoom()
    const call = enter(room, caller({ deadline: performance.now() + 100 }))
    await tick(97)
    expect(call.state).toBe('pending')
    await tick(2)
    expect(call.error).toMatchObject({ code: 'TIMEOUT', phase: 'queue', refused: true })
  })

  it('turns away at once whose deadline has come', async () => {
    const room = makeRoom()
    await tick(10)
    const call = enter(room, caller({ deadline: performance.now() }))
    expect(room.waiting).toBe(0)
    await tick()
    expect(call.error).toMatchObject({ phase: 'queue' })
  })

  it('goes by the deadline as it moves', async () => {
    const room = makeRoom()
    const of = caller({ deadline: performance.now() + 100 })
    const call = enter(room, of)
    await tick(50)
    of.deadline = performance.now() + 500
    await tick(450)
    expect(call.state).toBe('pending')
    await tick(50)
    expect(call.error).toMatchObject({ phase: 'queue' })
  })

  it('tells of a time limit further out that the call never ran', async () => {
    const room = makeRoom()
    const of = caller()
    const call = enter(room, of)
    const limit = new TimeoutError(50)
    of.cancel.abort(limit)
    await tick()
    expect(call.error).toMatchObject({ phase: 'queue', refused: true, cause: limit })
  })

  it('counts who goes before a newcomer', () => {
    const room = makeRoom()
    for (const priority of [0, 5, 0, -1]) enter(room, caller({ priority }))
    expect([9, 5, 1, 0, -1, -2].map((priority) => room.ahead(priority))).toEqual([0, 1, 1, 3, 4, 4])
    room.callNext()
    expect(room.ahead(5)).toBe(0)
    expect(room.ahead(0)).toBe(2)
  })

  it('calls by priority and then by arrival, and loses none, for any pattern', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('enter' as const), n: fc.integer({ min: -2, max: 2 }) }),
      fc.record({ kind: fc.constant('call' as const), n: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ kind: fc.constant('abort' as const), n: fc.nat(30) }),
      fc.record({ kind: fc.constant('tick' as const), n: fc.constant(0) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const room = makeRoom(1_000)
        let waiting: { id: number; priority: number; of: ReturnType<typeof caller> }[] = []
        const expected: number[] = []
        const called: number[] = []
        let ids = 0
        for (const { kind, n } of steps) {
          if (kind === 'enter') {
            const id = ids++
            const of = caller({ priority: n })
            waiting.push({ id, priority: n, of })
            room.wait(of as unknown as Context).then(
              () => called.push(id),
              () => {},
            )
          } else if (kind === 'call') {
            for (let i = 0; i < n; i++) {
              const next = waiting.toSorted((a, b) => b.priority - a.priority || a.id - b.id)[0]
              expect(room.callNext()).toBe(next !== undefined)
              if (next) expected.push(next.id)
              waiting = waiting.filter((one) => one !== next)
            }
          } else if (kind === 'abort') {
            const one = waiting[n % Math.max(1, waiting.length)]
            waiting = waiting.filter((other) => other !== one)
            one?.of.cancel.abort('enough')
          } else await tick()
          expect(room.waiting).toBe(waiting.length)
        }
        await tick()
        expect(called).toEqual(expected)
      }),
    )
  })

  it('holds nobody up by how many wait: 100,000 come, leave and are called', async () => {
    const room = makeRoom(1_000_000)
    vi.useRealTimers()
    const start = performance.now()
    const callers = Array.from({ length: 100_000 }, (_, i) => caller({ priority: i % 3 }))
    let called = 0
    for (const of of callers)
      room.wait(of as unknown as Context).then(
        () => called++,
        () => {},
      )
    // From the end: a walk through all who wait would take minutes.
    for (let i = callers.length - 1; i >= 0; i -= 2) callers[i]?.cancel.abort('enough')
    expect(room.waiting).toBe(50_000)
    while (room.callNext());
    expect(room.waiting).toBe(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(called).toBe(50_000)
    expect(performance.now() - start).toBeLessThan(20_000)
  }, 60_000)

  it('keeps the order of many priorities that come and go', async () => {
    const room = makeRoom(1_000)
    const order: number[] = []
    const callers = Array.from({ length: 300 }, (_, i) => caller({ priority: (i * 7919) % 101 }))
    for (const of of callers)
      room.wait(of as unknown as Context).then(
        () => order.push(of.priority),
        () => {},
      )
    for (const of of callers.filter(({ priority }) => priority % 3 === 0)) of.cancel.abort('enough')
    while (room.callNext());
    await tick()
    const stayed = callers.map(({ priority }) => priority).filter((priority) => priority % 3 !== 0)
    expect(order).toEqual(stayed.toSorted((a, b) => b - a))
  })

  it('turns an aborted one away with its own reason when the stack closes because of it', async () => {
    const room = makeRoom()
    const of = caller()
    of.cancel.onAbort(() => of.closing.abort('closing'))
    const call = enter(room, of)
    of.cancel.abort('enough')
    await tick()
    expect(call.error).toBe('enough')
  })
})
