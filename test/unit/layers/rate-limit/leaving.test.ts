import { describe, expect, it } from 'vitest'
import { base, stack } from '../../../../src/core/index.js'
import { rateLimit } from '../../../../src/layers/rate-limit/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()

/** Of 10 tokens that come back at one a second: a dear call waits, and a cheap one behind it. */
function twoWaiting() {
  const started: string[] = []
  const work = base(async (request: string) => void started.push(request), {
    weigh: (request) => ({ input: Number(request.split(':')[1]), output: 0 }),
  })
  const layer = rateLimit({ tokens: { limit: 60, burst: 10 }, by: 'all' })
  const ask = stack(work, layer)
  const call = (request: string) => watch(ask(request))
  const calls = [call('first:8'), call('dear:10'), call('cheap:1')]
  return { ask, layer, work, started, calls }
}

describe('calls that leave a limit together', () => {
  it('do not begin because another one leaves before them when their stack closes', async () => {
    const { ask, started, calls } = twoWaiting()
    await tick()
    await ask.close()
    expect(started).toEqual(['first:8'])
    expect(calls[1]?.error).toMatchObject({ code: 'CLOSED' })
    expect(calls[2]?.error).toMatchObject({ code: 'CLOSED' })
  })

  it('let the calls of another stack go on', async () => {
    const { ask, layer, work, started } = twoWaiting()
    const other = stack(work, layer)
    const call = watch(other('other:1'))
    await tick()
    await ask.close()
    await tick()
    expect(call.state).toBe('resolved')
    expect(started).toEqual(['first:8', 'other:1'])
    await other.close()
  })
})
