import { describe, expect, it } from 'vitest'
import { base, collect, stack, type TokenUsage } from '../../../../../src/core/index.js'
import { type QueueOptions, queue } from '../../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../../support/fake-timers.js'
import { gate } from '../../../../support/gate.js'
import { driven } from '../../../../support/streams.js'
import { share } from '../../../../support/tenants.js'
import { watch } from '../../../../support/watch.js'

useFakeTimers()

describe('service', () => {
  /** A base that counts tokens: each request says what it costs. */
  function tokens(options: QueueOptions = {}, streams = false) {
    const works: { done(): void }[] = []
    const started: string[] = []
    const ask = stack(
      base(
        ({ id, usage }: { id: string; usage?: TokenUsage; expected?: number }): unknown => {
          started.push(id)
          if (!streams) {
            const work = gate<unknown>()
            works.push({ done: () => work.open({ usage }) })
            return work.promise
          }
          const { stream } = driven<unknown>({ committed: true })
          works.push({
            done: () => {
              stream.log.push({ word: 'once' })
              stream.log.push({ usage: { input: 1, output: 1 } })
              stream.log.push({ usage })
              stream.log.end()
            },
          })
          return stream
        },
        {
          weigh: ({ expected = 10 }) => ({ input: expected, output: 10 }),
          usage: (answer) => (answer as { usage?: TokenUsage }).usage,
        },
      ),
      queue({ concurrency: 1, ...options }),
    )
    const call = (tenant: string, usage?: TokenUsage, expected?: number) => {
      const asked = { id: tenant, ...(usage && { usage }), ...(expected && { expected }) }
      return watch(ask(asked, { tenant }))
    }
    const end = async (times = 1) => {
      for (let i = 0; i < times; i++) {
        works.shift()?.done()
        await tick()
      }
    }
    return { call, end, started, works }
  }
  const cost = (input: number, output: number, cachedInput?: number): TokenUsage => ({
    input,
    output,
    ...(cachedInput !== undefined && { cachedInput }),
  })

  it('is what answers have cost: a tenant with calls five times as large has a fifth of the turns', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 60; i++) {
      call('large', cost(100, 200))
      call('small', cost(20, 40))
    }
    await end(60)
    const large = share(started, 'large')
    expect(large).toBeGreaterThanOrEqual(9)
    expect(large).toBeLessThanOrEqual(12)
    await end(60)
  })

  it('counts what was cached a tenth', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 60; i++) {
      call('cached', cost(1_000, 0, 1_000))
      call('new', cost(1_000, 0))
    }
    await end(44)
    expect(share(started, 'new')).toBeGreaterThanOrEqual(3)
    expect(share(started, 'new')).toBeLessThanOrEqual(6)
    await end(76)
  })

  it('is that of the last usage in a stream', async () => {
    const { call, started, works } = tokens({}, true)
    const answers = Array.from({ length: 60 }, (_, i) =>
      call(i % 2 ? 'small' : 'large', i % 2 ? cost(20, 40) : cost(100, 200)),
    )
    await tick()
    for (let i = 0; i < 24; i++) {
      const running = answers.find((answer) => answer.state === 'resolved' && answer.value)!
      const stream = running.value as AsyncIterable<unknown>
      running.value = undefined
      const read = collect(stream)
      works.shift()!.done()
      await read
      await tick()
    }
    expect(share(started, 'large')).toBeGreaterThanOrEqual(3)
    expect(share(started, 'large')).toBeLessThanOrEqual(6)
    for (let left = 36; left > 0; left--) {
      const stream = answers.find(({ state, value }) => state === 'resolved' && value)!
      await (stream.value as AsyncGenerator).return(undefined)
      stream.value = undefined
      await tick()
    }
  })

  it('lets a newcomer start in time though others were charged too much at first', async () => {
    const { call, end, started } = tokens({ concurrency: 5 })
    for (let i = 0; i < 200; i++) call('a', cost(1, 0))
    await end(3)
    call('b', cost(1, 0))
    const before = started.length
    await end(2)
    expect(started.slice(before)).toContain('b')
    await end(200)
  })

  it('keeps no tenant waiting whose calls were thought to be dear and were not', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 20; i++) call('dear', cost(1, 0), 1_000)
    for (let i = 0; i < 20; i++) call('cheap', cost(1, 0))
    await end(19)
    expect(Math.abs(share(started, 'dear') - share(started, 'cheap'))).toBeLessThanOrEqual(1)
    await end(21)
  })

  it('is as expected when the answer reports none', async () => {
    const { call, end, started } = tokens()
    for (let i = 0; i < 10; i++) {
      call('a')
      call('b')
    }
    await end(10)
    expect(Math.abs(share(started, 'a') - share(started, 'b'))).toBeLessThanOrEqual(1)
    await end(10)
  })
})
