import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createBatches } from '../../../src/batches/index.js'
import type { Told } from '../../support/batch-process.js'
import { all, clientOf, echo } from '../../support/batches-contract.js'

const PROGRAM = join(import.meta.dirname, '../../support/batch-process.ts')
const LINES = 1_000
const KILLS = 12

let directory: string
const children = new Set<ChildProcess>()
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'blossom-kills-'))
})
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

/** A process that works on the batch; what it tells goes to `hear`. */
function start(hear: (told: Told) => void) {
  const child = fork(PROGRAM, [directory, String(LINES)], { execArgv: ['--import', 'tsx'] })
  children.add(child)
  const begun = new Promise<void>((resolve) => {
    child.on('message', (told: Told) => {
      hear(told)
      if (told.type === 'ready') resolve()
    })
  })
  return { child, begun, ended: once(child, 'exit') }
}

it('a process that is killed repeatedly loses no result and duplicates none', {
  timeout: 180_000,
}, async () => {
  const calls = new Map<string, number>()
  /** Results as they were when a process read them first. */
  const seen = new Map<string, string>()
  const hear = (told: Told) => {
    if (told.type === 'call') calls.set(String(told.n), (calls.get(String(told.n)) ?? 0) + 1)
    if (told.type !== 'result') return
    expect(seen.get(told.customId) ?? told.text).toBe(told.text)
    seen.set(told.customId, told.text)
  }
  let kills = 0
  for (let isDone = false; !isDone; ) {
    const { child, begun, ended } = start((told) => {
      hear(told)
      if (told.type === 'done') isDone = true
    })
    if (kills < KILLS) {
      // While the batch is accepted, when the first lines begin, or in the middle of it: all of them
      // together take less time than its lines, which take 2.5 s.
      if (kills > 1) await Promise.race([begun, ended])
      await new Promise((resolve) => setTimeout(resolve, Math.random() * (kills < 2 ? 900 : 80)))
      if (child.kill('SIGKILL')) kills++
    }
    const [code, signal] = await ended
    expect([0, 'SIGKILL']).toContain(signal ?? code)
  }
  const expected = Array.from({ length: LINES }, (_, n) => String(n)).sort()
  expect([...seen.keys()].sort()).toEqual(expected)
  expect([...calls.keys()].sort()).toEqual(expected)
  // A call is repeated only where the process was killed while it ran.
  const repeated = [...calls.values()].reduce((sum, times) => sum + times - 1, 0)
  expect(kills).toBe(KILLS)
  expect(repeated).toBeGreaterThan(0)
  expect(repeated).toBeLessThanOrEqual(KILLS * 8)
  // It is the same for whoever comes later, and nothing of the killed processes is left.
  const batches = createBatches(clientOf(echo), { directory })
  const results = await all(batches.results('killed'))
  expect(results.map((result) => [result.customId, JSON.stringify(result)])).toEqual(
    [...seen].sort(([a], [b]) => (a < b ? -1 : 1)),
  )
  expect(await batches.status('killed')).toMatchObject({
    status: 'completed',
    requestCounts: { total: LINES, completed: LINES * 0.9, failed: LINES * 0.1 },
  })
  await batches.close()
  expect(readdirSync(join(directory, 'unfinished'))).toEqual([])
  expect(readdirSync(directory).filter((name) => name.startsWith('lock'))).toHaveLength(1)
})
