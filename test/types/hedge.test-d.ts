import { describe, expectTypeOf, it } from 'vitest'
import type { HedgeStats } from '../../src/core.js'
import { createBlossom, hedge, type Layer, queue, stack } from '../../src/index.js'

declare const ask: (request: { readonly prompt: string }) => Promise<string>

describe('hedge', () => {
  it('keeps its name, and request and answer of the function', () => {
    expectTypeOf(hedge()).toEqualTypeOf<Layer<'hedge', HedgeStats>>()
    const quick = stack(ask, hedge({ delayMs: 100, name: 'second' }))
    expectTypeOf(quick.stats()).toEqualTypeOf<{ readonly second: HedgeStats }>()
    expectTypeOf(quick).returns.toEqualTypeOf<Promise<string>>()
  })

  it('takes models, clients and stacks', () => {
    const client = createBlossom().use(queue())
    hedge({ to: ['mistral', client, stack(ask), { client, model: 'mistral' }] })
    hedge({ delayMs: 'p95', budget: { size: 5 } })
    hedge({ budget: false })
  })

  it('refuses what is none of these', () => {
    // @ts-expect-error no function
    hedge({ to: [() => 'x'] })
    // @ts-expect-error an unknown word
    hedge({ delayMs: 'p99' })
    // @ts-expect-error true
    hedge({ budget: true })
  })
})
