import { describe, expect, it } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { gate } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure } from '../../../support/watch.js'

describe('attempts', () => {
  it('counts the base calls made for a call, and reports them in derived contexts too', async () => {
    const probe = spy()
    const ask = stack(
      async () => {
        throw upstreamError('SERVER')
      },
      retry({ retries: 2, minDelayMs: 0 }),
      probe,
    )
    await failure(ask(undefined))
    expect(probe.context.attempts).toBe(3)
    expect(probe.context.derive({ priority: 1 }).attempts).toBe(3)
  })

  it('is 0 when a layer answers or refuses without calling the base', async () => {
    const probe = spy()
    const ask = stack(
      async () => 1,
      probe,
      () => async () => 2 as never,
    )
    await ask(undefined)
    expect(probe.context.attempts).toBe(0)
  })

  it('counts shared work only for the call that began it', async () => {
    const probe = spy()
    const work = gate<string>()
    const ask = stack(() => work.promise, probe, dedupe())
    const first = ask('q' as never)
    const { context } = probe
    const second = ask('q' as never)
    work.open('done')
    await Promise.all([first, second])
    expect([context.attempts, probe.context.attempts]).toEqual([1, 0])
  })
})

describe('a try with notes of its own', () => {
  it('counts its own attempts and those of nested tries, while the call counts them all', async () => {
    const counts: number[] = []
    const ask = stack(
      async () => 1,
      (next) => async (request, context) => {
        const first = context.derive({ meta: new Map() })
        const second = context.derive({ meta: new Map() })
        const within = second.derive({}).derive({ meta: new Map() })
        for (const one of [first, within, within]) await next(request, one)
        counts.push(...[context, first, second, within].map(({ attempts }) => attempts))
        return 1
      },
    )
    await ask(undefined)
    expect(counts).toEqual([3, 1, 2, 2])
  })
})

describe('notes', () => {
  it('exist once somebody writes one, and reading them creates no map', async () => {
    const probe = spy()
    await stack(async () => 1, probe)(undefined)
    expect(probe.context.notes).toBeUndefined()
    probe.context.meta.set('mine', 1)
    expect(probe.context.derive({}).notes?.get('mine')).toBe(1)
  })
})
