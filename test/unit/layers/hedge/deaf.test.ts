import { expect, it } from 'vitest'
import { type Context, collect, stack } from '../../../../src/core/index.js'
import { hedge } from '../../../../src/layers/hedge/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate } from '../../../support/gate.js'
import { driven } from '../../../support/streams.js'

useFakeTimers()

/** A function that hears no abort, beside another one that answers. */
function deaf() {
  const late = gate<unknown>()
  let signal: AbortSignal | undefined
  const ask = stack(
    (_: string, context: Context) => {
      signal = context.signal
      return late.promise
    },
    hedge({
      to: [stack(async (_: string): Promise<unknown> => 'elsewhere')],
      delayMs: 100,
      budget: { start: 10 },
    }),
    queue({ concurrency: 1 }),
  )
  return { ask, late, answer: ask('a'), signal: () => signal }
}

it('answers in time when the first try ignores the abort, and leaves that try its slot until it ends', async () => {
  const { ask, late, answer, signal } = deaf()
  await tick(100)
  expect(await answer).toBe('elsewhere')
  expect(signal()?.aborted).toBe(true)
  expect(ask.stats()).toMatchObject({ hedge: { won: 1 }, queue: { running: 1 } })
  late.open('too late')
  await tick()
  expect(ask.stats().queue.running).toBe(0)
})

it('ends the late stream of a first try that ignores the abort', async () => {
  const { ask, late, answer } = deaf()
  await tick(100)
  expect(await answer).toBe('elsewhere')
  const { stream } = driven<string>({ committed: true })
  late.open(stream)
  await tick()
  await expect(collect(stream)).rejects.toMatchObject({ name: 'AbortError' })
  expect(ask.stats().queue.running).toBe(0)
})

it('does not count a late failure of the first try', async () => {
  const { ask, late, answer } = deaf()
  await tick(100)
  expect(await answer).toBe('elsewhere')
  late.fail(new Error('too late'))
  await tick()
  expect(ask.stats()).toMatchObject({ hedge: { won: 1, lost: 0 }, queue: { running: 0 } })
})
