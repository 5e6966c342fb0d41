// Run by `node --test`, from the tests of `fakeClock()`.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { mock, test } from 'node:test'
import * as esModule from 'blossom-stack'
import { fakeClock, scripted } from 'blossom-stack/testing'

const commonJs = createRequire(import.meta.url)('blossom-stack')

test('a backoff on the fake clock', async () => {
  const clock = fakeClock()
  for (const { retry, stack } of [esModule, commonJs]) {
    const base = scripted([new Error('down'), 'Hello'])
    const ask = stack(base, retry({ minDelayMs: 60_000, maxDelayMs: 60_000, random: () => 1 }))
    const answer = ask('Hi')
    await clock.advance(59_999)
    assert.equal(base.calls.length, 1)
    await clock.advance(1)
    assert.equal(await answer, 'Hello')
  }
  clock.restore()
})

test('a limit on the fake clock', async () => {
  const clock = fakeClock()
  for (const { rateLimit, stack } of [esModule, commonJs]) {
    const begun = []
    const layer = rateLimit({
      by: 'all',
      requests: { limit: 1, intervalMs: 60_000 },
      maxWaitMs: 120_000,
    })
    const ask = stack(async (n) => begun.push(n), layer)
    const calls = [1, 2, 3].map((n) => ask(n))
    await clock.advance(60_000)
    assert.deepEqual(begun, [1, 2])
    await clock.advance(60_000)
    assert.deepEqual(begun, [1, 2, 3])
    await Promise.all(calls)
  }
  clock.restore()
})

test('time limits on mocked timers', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  for (const { stack } of [esModule, commonJs]) {
    const ask = stack(() => new Promise(() => {}))
    const late = assert.rejects(ask('Hi', { timeoutMs: 60_000 }), { code: 'TIMEOUT' })
    await new Promise((resolve) => setImmediate(resolve))
    mock.timers.tick(60_000)
    await late
  }
  mock.timers.reset()
})
