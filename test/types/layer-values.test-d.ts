import { describe, expectTypeOf, it } from 'vitest'
import {
  type BreakerLayer,
  type BreakerSnapshot,
  breaker,
  type QueueLayer,
  queue,
} from '../../src/core.js'

describe('breaker', () => {
  it('gives a layer that can be worked by hand', () => {
    const layer = breaker({ key: 'model', name: 'models' })
    expectTypeOf(layer).toEqualTypeOf<BreakerLayer<'models', unknown>>()
    expectTypeOf(layer.state('a')).toEqualTypeOf<'closed' | 'open' | 'half-open'>()
    expectTypeOf(layer.exportState()).toEqualTypeOf<BreakerSnapshot>()
    expectTypeOf(layer.isolate).toBeCallableWith()
    expectTypeOf(layer.reset).toBeCallableWith('a')
    // @ts-expect-error a key that is no string
    layer.isolate(5)
  })

  it('takes a time to reset, or a function of the openings', () => {
    breaker({ resetMs: (openings) => openings * 1_000, initialState: {} as BreakerSnapshot })
    // @ts-expect-error what it returns is no duration
    breaker({ resetMs: () => '5 s' })
  })
})

describe('queue', () => {
  it('gives a layer that can be changed at run time', () => {
    const layer = queue({ concurrency: { min: 2, max: 50 }, weights: { gold: 3 }, name: 'slots' })
    expectTypeOf(layer).toEqualTypeOf<QueueLayer<'slots'>>()
    expectTypeOf(layer.set).toBeCallableWith({ concurrency: 'adaptive' })
    expectTypeOf(layer.set).toBeCallableWith({ concurrency: 5 })
    // @ts-expect-error what cannot be changed
    layer.set({ maxWaiting: 5 })
    // @ts-expect-error a concurrency in words
    queue({ concurrency: 'many' })
  })
})
