import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Compiled, compile } from './compile.js'
import { countSurvivors, countWork } from './work.js'
import type { Counts } from './work-count.js'

/**
 * What a call through the full stack may make at most. Work is counted, not timed, so a busy
 * machine changes nothing. The figures beside are those that were measured (`npm run bench -- work`
 * shows today's); the limits leave about a third more.
 */
const LIMITS: Readonly<Record<string, Readonly<Pick<Counts, 'bytes' | 'promises' | 'timers'>>>> = {
  'around a no-op': { bytes: 14_000, promises: 21, timers: 0.1 }, // 10,590, 16, 0
  "around a no-op, with a caller's signal": { bytes: 17_800, promises: 21, timers: 0.1 }, // 13,380, 16, 0
  'a call upstream': { bytes: 30_000, promises: 27, timers: 3 }, // 22,600, 20, 2
  "a call upstream, with a caller's signal": { bytes: 32_000, promises: 27, timers: 3 }, // 24,190, 20, 2
  'a chunk of a stream': { bytes: 1_800, promises: 2.8, timers: 0.03 }, // 1,360, 2.1, 0.015
}

let compiled: Compiled
let counts: Record<string, Counts>
beforeAll(async () => {
  compiled = await compile({ source: true })
  counts = await countWork(compiled.folder)
}, 120_000)
afterAll(() => compiled?.remove())

it('leaves nothing of an answered call in the old generation', async () => {
  // 45 bytes; 800 when answered calls hang on to each other.
  expect(await countSurvivors(compiled.folder)).toBeLessThan(300)
}, 60_000)

describe.each(Object.entries(LIMITS))('%s', (name, limits) => {
  it.each(Object.entries(limits))('makes no more %s than its limit', (kind, limit) => {
    expect(counts[name]?.[kind as keyof Counts]).toBeGreaterThanOrEqual(0)
    expect(counts[name]?.[kind as keyof Counts]).toBeLessThanOrEqual(limit)
  })

  it('makes no AbortController and no AbortSignal', () => {
    expect(counts[name]).toMatchObject({ controllers: 0, signals: 0 })
  })

  it("listens once to a caller's signal, and not after the call", () => {
    const listeners = name.endsWith("with a caller's signal") ? 1 : 0
    expect(counts[name]).toMatchObject({ listenersAdded: listeners, listenersRemoved: listeners })
  })

  it('goes upstream once, where there is an upstream', () => {
    expect(counts[name]?.requests).toBe(name.startsWith('around a no-op') ? 0 : 1)
  })
})
