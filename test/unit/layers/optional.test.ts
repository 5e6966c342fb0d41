import { describe, expect, it } from 'vitest'
import { breaker, type Context, type ContextPatch, type LayerOf, stack } from '../../../src/core.js'
import { batcher, pool, queue, retry } from '../../../src/index.js'
import { tick, useFakeTimers } from '../../support/fake-timers.js'
import { gate } from '../../support/gate.js'
import { upstreamError } from '../../support/upstream.js'
import { failure, watch } from '../../support/watch.js'

useFakeTimers()

interface Ask extends ContextPatch {
  readonly fails?: boolean
}

/** A stack in which each request says how its context is narrowed. */
function around(layer: LayerOf<Ask, unknown>) {
  const open = gate<string>()
  const used: (number | undefined)[] = []
  const narrow: LayerOf<Ask, unknown> = (next) => (request, context) =>
    next(request, context.derive(request))
  const ask = stack(
    async ({ fails = false }: Ask, { transport }: Context): Promise<unknown> => {
      used.push(transport?.member)
      if (fails) throw upstreamError('SERVER')
      return open.promise
    },
    narrow,
    layer,
  )
  return { ask, open, used }
}

const optional = { optional: true }

describe('a call that runs only if that is possible at once', () => {
  it('is refused by a queue without a free slot, and waits for none', async () => {
    const layer = queue({ concurrency: 1 })
    const { ask, open } = around(layer)
    const running = watch(ask(optional))
    expect(await failure(ask(optional))).toMatchObject({ code: 'QUEUE_FULL', refused: true })
    expect(layer.stats()).toMatchObject({ running: 1, waiting: 0, rejected: 1 })
    open.open('x')
    await tick()
    expect(running.value).toBe('x')
  })

  it('is refused by a pool without a free connection', async () => {
    const layer = pool({ connections: 1 })
    const { ask } = around(layer)
    watch(ask({}))
    expect(await failure(ask(optional))).toMatchObject({ code: 'QUEUE_FULL', refused: true })
    expect(layer.stats()).toMatchObject({ active: 1, waiting: 0 })
  })

  it('goes to no member that is excluded', async () => {
    const members = [{ apiKey: 'sk_a' }, { apiKey: 'sk_b' }, { apiKey: 'sk_c' }]
    const { ask, used } = around(pool({ connections: 2, members }))
    for (const elsewhere of [[0], [1, 2], [0, 1]]) watch(ask({ elsewhere }))
    expect(used).toEqual([1, 0, 2])
    const refused = { code: 'QUEUE_FULL', refused: true }
    expect(await failure(ask({ elsewhere: [0, 1, 2] }))).toMatchObject(refused)
    expect(await failure(around(pool()).ask({ elsewhere: [0] }))).toMatchObject(refused)
  })

  it('is never the trial of a breaker, and is refused until the breaker closes', async () => {
    const { ask, open } = around(breaker({ minimumCalls: 1, resetMs: 1_000 }))
    await failure(ask({ fails: true }))
    for (const ms of [0, 1_000, 1_000]) {
      await tick(ms)
      expect(await failure(ask(optional))).toMatchObject({ code: 'BREAKER_OPEN', refused: true })
    }
    open.open('x')
    expect(await ask({})).toBe('x')
    expect(await ask(optional)).toBe('x')
    await ask.close()
  })
})

describe('a call that runs only if that is possible at once, in a batcher', () => {
  it('goes alone, as it may neither wait for others nor be refused with them', async () => {
    const asked: number[][] = []
    const ask = stack(
      async (inputs: number[]) => {
        asked.push(inputs)
        return inputs
      },
      (next) => (request, context) => next(request, context.derive({ optional: request[0] === 0 })),
      batcher({ maxDelayMs: 5 }),
    )
    const all = [[1], [0], [2]].map((inputs) => watch(ask(inputs)))
    await tick(5)
    expect(all.map(({ value }) => value)).toEqual([[1], [0], [2]])
    expect(asked).toEqual([[0], [1, 2]])
  })
})

describe('retry', () => {
  it('hands its budget inward, or nothing without one', async () => {
    let seen: Context | undefined
    const fn = async (_: string, context: Context) => {
      seen = context
    }
    await stack(fn, retry({ budget: { ratio: 0, floor: 1 } }))('x')
    const budget = seen?.retryBudget
    expect([budget?.take(), budget?.take()]).toEqual([true, false])
    budget?.giveBack()
    expect(budget?.take()).toBe(true)
    await stack(fn, retry({ budget: false }))('x')
    expect(seen?.retryBudget).toBeUndefined()
  })
})
