import { describe, expect, it } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { breaker } from '../../../../src/layers/breaker/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()

describe('retry outside breaker', () => {
  it('tells what had failed before in the cause of the refusal', async () => {
    const down = new Error('db down')
    const ask = stack(
      async () => {
        throw down
      },
      retry({ retries: 2, minDelayMs: 1 }),
      breaker({ minimumCalls: 2 }),
    )
    const call = failure(ask())
    await tick(10)
    expect(await call).toMatchObject({ code: 'BREAKER_OPEN', cause: down })
    expect(ask.stats()).toMatchObject({
      retry: { retries: 2 },
      breaker: { failures: 2, rejected: 1 },
    })
    await ask.close()
  })
})
