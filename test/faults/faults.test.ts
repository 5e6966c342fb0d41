import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { bodies } from './bodies.js'
import { openCircuits } from './circuits.js'
import { takeClock } from './clock.js'
import { connecting, names } from './connecting.js'
import { cuts } from './cuts.js'
import { gatesAndTurns } from './gates.js'
import { head } from './head.js'
import { life } from './life-of-a-call.js'
import { limits } from './limits.js'
import { EXPECTED_WARNINGS, circles as fewCircles } from './many-calls.js'
import { otherModels } from './other-models.js'
import { openOther, redirects } from './redirects.js'
import { reportedLimits } from './reported-limits.js'
import { retryAfter } from './retry-after.js'
import { methodOf } from './row.js'
import { runRow } from './run-row.js'
import { secondTries } from './second-tries.js'
import { statuses } from './statuses.js'
import { streams } from './streams.js'
import { type FaultPage, indexOf, pageOf } from './table.js'
import { became, summaryOf, tally } from './tally.js'

const circles = [...fewCircles, ...cuts]

const pages: readonly FaultPage[] = [
  {
    file: 'connections.md',
    title: 'Connections, statuses and redirects',
    groups: [connecting, head, statuses, retryAfter, redirects],
  },
  { file: 'answers.md', title: 'Bodies and streams', groups: [bodies, streams] },
  {
    file: 'layers.md',
    title: 'Calls and layers',
    groups: [life, otherModels, secondTries, limits, reportedLimits, gatesAndTurns, openCircuits],
    circles,
  },
]
const groups = pages.flatMap((page) => page.groups)

const cases = groups.flatMap(({ title, rows }, g) =>
  rows.map((row, i) => ({
    name: `${title}: ${row.fault} (${methodOf(row)})`,
    row,
    token: `t${g}x${i}`,
  })),
)
const named = (clock: boolean) =>
  cases.filter(({ row }) => (row.clock === true) === clock).map((one) => [one.name, one] as const)

/** What Node and the library say beside the calls. */
const said: string[] = []
const onWarning = (warning: Error) => said.push(String(warning))
const onRejection = (reason: unknown) => said.push(`unhandled: ${reason}`)

/** What keeps the process alive beside the test runner. */
const resources = () =>
  process.getActiveResourcesInfo().filter((one) => /^(TCP|TLS|Timeout)/.test(one)).length

let other: AsyncDisposable
let before = 0
beforeAll(async () => {
  before = resources()
  other = await openOther()
  process.on('warning', onWarning).on('unhandledRejection', onRejection)
})
afterAll(() => {
  process.off('warning', onWarning).off('unhandledRejection', onRejection)
  console.log(summaryOf(tally))
})

describe('a fault through the whole stack', () => {
  it.concurrent.each(named(false))('%s', (_name, { row, token }) => runRow(row, token))
})

describe('a fault that meets many calls', () => {
  it.concurrent.each(circles.map((circle) => [circle.fault, circle] as const))(
    '%s',
    (_fault, circle) => circle.run(),
  )
})

describe('a fault that time has to show', () => {
  beforeAll(() => void takeClock())
  afterAll(() => void vi.useRealTimers())

  it.each(named(true))('%s', (_name, { row, token }) => runRow(row, token))

  it('leaves no timer', async () => {
    // undici looks once a second whether it still needs its own.
    await vi.advanceTimersByTimeAsync(60_000)
    tally.leaked += vi.getTimerCount()
    expect(vi.getTimerCount()).toBe(0)
  })
})

it('leaves no socket, no timer and no word behind', async () => {
  await other[Symbol.asyncDispose]()
  names[Symbol.dispose]()
  await became(() => resources() <= before)
  tally.leaked += Math.max(0, resources() - before)
  expect(said.filter((word) => !EXPECTED_WARNINGS.includes(word))).toEqual([])
  expect(summaryOf(tally)).toMatch(/: 0 lost, 0 doubled, 0 leaked$/)
})

it('is described as it is', async () => {
  await expect(indexOf(pages)).toMatchFileSnapshot('./README.md')
  for (const page of pages) await expect(pageOf(page)).toMatchFileSnapshot(`./${page.file}`)
})
