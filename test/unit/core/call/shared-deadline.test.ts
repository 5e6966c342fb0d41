import { afterEach, describe, expect, it, vi } from 'vitest'
import { isStackError, sleep, stack } from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { fallback } from '../../../../src/layers/fallback/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { upstreamError } from '../../../support/upstream.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

const slow = async (request: string) => {
  await sleep(50)
  return `${request}: done`
}

/** A call with 20 ms, and after 10 ms another one that shares its work and has more time. */
async function twoCallers<Request>(
  ask: (request: Request, options: { timeoutMs: number }) => Promise<unknown>,
  request: Request,
) {
  const first = watch(ask(request, { timeoutMs: 20 }))
  await tick(10)
  const second = watch(ask(request, { timeoutMs: 1_000 }))
  await tick(15)
  expect(isStackError(first.error, 'TIMEOUT')).toBe(true)
  expect(second.state).toBe('pending')
  return second
}

describe('the deadline of work that callers share', () => {
  it('is extended inside a stack used as the base too', async () => {
    const inner = stack(slow)
    const ask = stack((request: string, context) => inner(request, context as never), dedupe())
    const second = await twoCallers(ask, 'same')
    await tick(40)
    expect(second.value).toBe('same: done')
    await ask.close()
  })

  it('is extended inside a fallback stack that answers instead', async () => {
    const backup = stack(slow)
    const broken = (_: string): Promise<string> => Promise.reject(upstreamError('SERVER'))
    const ask = stack(broken, dedupe(), fallback({ to: [backup] }))
    const second = await twoCallers(ask, 'same')
    await tick(40)
    expect(second.value).toBe('same: done')
    await ask.close()
  })

  it('ends a call in another stack when the extended deadline passes', async () => {
    let deadline = performance.now() + 20
    const inner = stack((_: string, { cancel }) => sleep(10_000, cancel))
    const outer = stack((request: string, context) => {
      const given = context.derive({})
      Object.defineProperty(given, 'deadline', { get: () => deadline })
      return inner(request, given as never)
    })
    const call = watch(outer(''))
    await tick(10)
    deadline += 30
    await tick(39)
    expect(call.state).toBe('pending')
    await tick(2)
    expect(call.error).toMatchObject({ code: 'TIMEOUT', ms: 50 })
    await outer.close()
    await inner.close()
  })

  it('is extended for work that this work shares in turn', async () => {
    const each = (requests: string[]) => Promise.all(requests.map(slow))
    const ask = stack(each, dedupe(), batcher({ maxDelayMs: 0 }), queue({ concurrency: 1 }))
    const before = watch(ask(['other']))
    await tick(1)
    const second = await twoCallers(ask, ['same'])
    await tick(100)
    expect(before.value).toEqual(['other: done'])
    expect(second.value).toEqual(['same: done'])
    await ask.close()
  })
})
