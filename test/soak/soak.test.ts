import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type Counts, count, newCounts, type Rest, verdict } from './report.js'

const REST: Rest = {
  sockets: 0,
  timers: 0,
  listeners: 0,
  upstreamActive: 0,
  held: 0,
  hits: 1,
  joined: 1,
  merged: 1,
  warnings: [],
  earlyHeap: 20e6,
  finalHeap: 21e6,
  peakRss: 1,
  finalRss: 1,
}

function counted(more: Partial<Counts>, ...outcomes: string[]): Counts {
  const counts = { ...newCounts(), ...more }
  for (const outcome of ['ok', ...outcomes]) count(counts, outcome)
  return counts
}

describe('the soak', () => {
  it('finds nothing wrong in a short run, and says what it did', async () => {
    const program = ['--expose-gc', '--import', 'tsx', join(import.meta.dirname, 'run.ts'), '1.5']
    const { stdout, stderr } = await promisify(execFile)(process.execPath, program, {
      timeout: 60_000,
    })
    expect(stderr).toBe('')
    expect(stdout).toMatch(
      /^calls {7}\d+ in .*\noutcomes {4}ok \d+.*\nanswers {5}0 lost, 0 doubled, 0 mismatched, 0 never settled\n/,
    )
    expect(stdout).toMatch(/\nall is well\n$/)
  }, 120_000)

  it('is content with expected failures', () => {
    expect(verdict(counted({}, 'SERVER', 'STREAM', 'aborted', 'left'), REST)).toEqual([])
  })

  it.each<[what: string, counts: Counts, rest: Partial<Rest>, words: RegExp]>([
    ['a lost answer', counted({ lost: 1 }), {}, /1 answers were cut short/],
    ['a doubled answer', counted({ doubled: 1 }), {}, /1 answers were doubled/],
    [
      'an answer to another request',
      counted({ mismatched: 2 }),
      {},
      /2 answers belong to another request/,
    ],
    ['a call that never settled', counted({ open: 1 }), {}, /1 calls never settled/],
    ['an unexpected code', counted({}, 'CLOSED'), {}, /1 calls ended with CLOSED/],
    ['a foreign error', counted({}, 'TypeError: x is undefined'), {}, /TypeError/],
    ['a socket', counted({}), { sockets: 1 }, /1 sockets/],
    ['a timer', counted({}), { timers: 1 }, /1 timers/],
    ['a listener', counted({}), { listeners: 1 }, /1 listeners/],
    ['a request upstream', counted({}), { upstreamActive: 1 }, /still upstream/],
    ['a slot', counted({}), { held: 1 }, /still counted/],
    ['a warning', counted({}), { warnings: ['MaxListenersExceededWarning'] }, /MaxListeners/],
    ['a heap that grows', counted({}), { finalHeap: 40e6 }, /the heap grew/],
    ['a load that shared nothing', counted({}), { hits: 0 }, /nothing was shared/],
    ['a load that had no answer', newCounts(), {}, /no call was answered/],
  ])('finds %s', (_, counts, rest, words) => {
    expect(verdict(counts, { ...REST, ...rest })).toEqual([expect.stringMatching(words)])
  })
})
