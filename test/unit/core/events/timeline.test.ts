import { describe, expect, it } from 'vitest'
import { stack, type TimelineEntry } from '../../../../src/core/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate } from '../../../support/gate.js'
import { types } from '../../../support/recorded-events.js'
import { scripted } from '../../../support/scripted.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()

const steady = { minDelayMs: 100, random: () => 0.5 }

describe('the timeline', () => {
  it('is written to the meta of the caller and lists what happened when', async () => {
    const ask = stack(scripted<string>(upstreamError('SERVER'), 'well'), retry(steady))
    const meta = new Map<string, unknown>()
    const call = ask('hello', { meta })
    await tick(1_000)
    await call
    expect(meta.get('timeline')).toEqual([
      { type: 'call:start', afterMs: 0 },
      { type: 'attempt:start', afterMs: 0, attempt: 1 },
      {
        type: 'attempt:end',
        afterMs: 0,
        attempt: 1,
        outcome: 'failed',
        code: 'SERVER',
        durationMs: 0,
      },
      { type: 'retry', afterMs: 0, layer: 'retry', attempt: 1, delayMs: 50, code: 'SERVER' },
      { type: 'attempt:start', afterMs: 50, attempt: 2 },
      { type: 'attempt:end', afterMs: 50, attempt: 2, outcome: 'complete', durationMs: 0 },
      {
        type: 'call:end',
        afterMs: 50,
        outcome: 'complete',
        durationMs: 50,
        queuedMs: 0,
        attempts: 2,
      },
    ] satisfies TimelineEntry[])
  })

  it('has at most 200 entries, including the end', async () => {
    const ask = stack(
      scripted<string>(upstreamError('SERVER')),
      retry({ retries: 100, minDelayMs: 0, budget: false }),
    )
    const meta = new Map<string, unknown>()
    const failed = failure(ask('hello', { meta }))
    await tick(1_000)
    await failed
    const timeline = meta.get('timeline') as TimelineEntry[]
    expect(timeline).toHaveLength(200)
    expect(timeline.at(-1)).toMatchObject({ type: 'call:end', attempts: 101, omitted: 104 })
  })

  it('ignores the calls of an inner stack, and still records attempts that end after the call', async () => {
    const inner = stack(async (n: number) => n, retry())
    const meta = new Map<string, unknown>()
    const caller = new AbortController()
    const late = gate()
    const outer = stack(async (n: number, context) => {
      await inner(n, context as never)
      await late.promise
      return n
    })
    const aborted = failure(outer(1, { meta, signal: caller.signal }))
    await tick()
    caller.abort()
    await aborted
    late.open()
    await tick()
    expect(types(meta.get('timeline') as TimelineEntry[])).toEqual([
      'call:start',
      'attempt:start',
      'call:end',
      'attempt:end',
    ])
  })

  it('does not fail the call when it cannot be written', async () => {
    catchWarnings()
    class Full extends Map<string, unknown> {
      override set(): never {
        throw new Error('full')
      }
    }
    expect(await stack(async (n: number) => n)(1, { meta: new Full() })).toBe(1)
  })
})
