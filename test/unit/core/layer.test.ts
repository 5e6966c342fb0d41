import { describe, expect, it, vi } from 'vitest'
import { defineLayer, type Handler, stack } from '../../../src/core/index.js'

const pass = (next: Handler<unknown, unknown>): Handler<unknown, unknown> => next

describe('defineLayer', () => {
  it('makes a function from handler to handler with a name and stats', async () => {
    let calls = 0
    const count = defineLayer({
      name: 'count',
      wrap: (next) => (request, context) => {
        calls++
        return next(request, context)
      },
      stats: () => ({ calls }),
    })
    expect(count.name).toBe('count')
    const ask = stack(async (n: number) => n + 1, count)
    expect(await ask(1)).toBe(2)
    expect(count.stats()).toEqual({ calls: 1 })
    expect(ask.stats()).toEqual({ count: { calls: 1 } })
  })

  it('has no stats unless some are given', () => {
    const layer = defineLayer({ name: 'plain', wrap: pass })
    expect(layer.stats()).toEqual({})
    expect(stack(async () => 1, layer).stats()).toEqual({ plain: {} })
  })

  it('wraps once for each stack', () => {
    const wrap = vi.fn(pass)
    const layer = defineLayer({ name: 'shared', wrap })
    stack(async () => 1, layer)
    stack(async () => 1, layer)
    expect(wrap).toHaveBeenCalledTimes(2)
  })

  it('uses its name as its kind by default', () => {
    expect(defineLayer({ name: 'attempt', kind: 'timeout', wrap: pass }).hooks.kind).toBe('timeout')
    expect(defineLayer({ name: 'cache', wrap: pass }).hooks.kind).toBe('cache')
  })
})
