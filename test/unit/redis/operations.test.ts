import { expect, it, vi } from 'vitest'
import { ALONE, Operations } from '../../../src/redis/operations.js'
import { tick, useFakeTimers } from '../../support/fake-timers.js'
import { gate, never } from '../../support/gate.js'
import { catchWarningsInEachTest } from '../../support/warnings.js'

useFakeTimers()
catchWarningsInEachTest()

const fails = () => Promise.reject(new Error('down'))
const works = async () => 'done'

it('ends an operation at its time limit', async () => {
  const operations = new Operations(75)
  const asked = operations.run(() => never())
  await tick(75)
  expect(await asked).toBe(ALONE)
  expect(await operations.run(works)).toBe('done')
  expect(operations.counts).toEqual({ operations: 2, failures: 1, alone: 1 })
})

it('sends nothing for 5 s after three failures within 10 s, then tries a single operation', async () => {
  const operations = new Operations(75)
  for (let i = 0; i < 3; i++) await operations.run(fails)
  const asked = vi.fn(works)
  await tick(4_999)
  expect(await operations.run(asked)).toBe(ALONE)
  expect(asked).not.toHaveBeenCalled()
  await tick(1)
  const answer = gate<string>()
  const trial = operations.run(() => answer.promise)
  expect(await operations.run(asked)).toBe(ALONE)
  answer.open('back')
  expect(await trial).toBe('back')
  expect(await operations.run(asked)).toBe('done')
})

it('pauses again when the single trial operation fails', async () => {
  const operations = new Operations(75)
  for (let i = 0; i < 3; i++) await operations.run(fails)
  await tick(5_000)
  expect(await operations.run(fails)).toBe(ALONE)
  await tick(4_999)
  const asked = vi.fn(works)
  expect(await operations.run(asked)).toBe(ALONE)
  expect(asked).not.toHaveBeenCalled()
})

it('keeps sending operations while failures are further apart', async () => {
  const operations = new Operations(75)
  for (let i = 0; i < 6; i++) {
    await operations.run(fails)
    await tick(5_000)
  }
  expect(await operations.run(works)).toBe('done')
  expect(operations.counts).toEqual({ operations: 7, failures: 6, alone: 6 })
})
