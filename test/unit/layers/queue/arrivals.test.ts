import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Gate, gate } from '../../../support/gate.js'
import { driven } from '../../../support/streams.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()

describe('queue', () => {
  describe('for any pattern of arrivals, ends and aborts', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constantFrom('value' as const, 'stream' as const),
          n: fc.integer({ min: -1, max: 1 }),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constantFrom('end' as const, 'fail' as const, 'leave' as const),
          n: fc.nat(50),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('abort' as const), n: fc.nat(50) }) },
    )

    interface Call {
      readonly id: number
      readonly priority: number
      readonly stream: boolean
      readonly caller: AbortController
      readonly work: Gate<unknown>
      readonly source: ReturnType<typeof driven<number>>
      result: ReturnType<typeof watch<unknown>>
    }

    it('never runs too many calls, loses none and keeps their order', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 60, size: 'max' }),
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 0, max: 5 }),
          async (steps, concurrency, maxWaiting) => {
            const started: number[] = []
            const ask = stack(async (call: Call) => {
              started.push(call.id)
              if (!call.stream) return call.work.promise
              call.source.stream.log.push(0)
              return call.source.stream as unknown
            }, queue({ concurrency, maxWaiting }))
            const all: Call[] = []
            let running: Call[] = []
            let waiting: Call[] = []
            const expected: number[] = []
            let refused = 0
            const settleRunning = () => {
              while (running.length < concurrency && waiting.length > 0) {
                const next = waiting.toSorted((a, b) => b.priority - a.priority || a.id - b.id)[0]!
                waiting = waiting.filter((one) => one !== next)
                running.push(next)
                expected.push(next.id)
              }
            }
            for (const { kind, n } of [
              ...steps,
              ...steps.map(() => ({ kind: 'end' as const, n: 0 })),
            ]) {
              if (kind === 'value' || kind === 'stream') {
                const call = {
                  id: all.length,
                  priority: n,
                  stream: kind === 'stream',
                  caller: new AbortController(),
                  work: gate<unknown>(),
                  source: driven<number>(),
                } as Call
                all.push(call)
                call.result = watch(ask(call, { priority: n, signal: call.caller.signal }))
                if (running.length < concurrency) {
                  running.push(call)
                  expected.push(call.id)
                } else if (waiting.length < maxWaiting) waiting.push(call)
                else refused++
              } else if (kind === 'abort') {
                const call = all[n % Math.max(1, all.length)]
                call?.caller.abort(new Error('enough'))
                if (call && waiting.includes(call)) refused++
                waiting = waiting.filter((one) => one !== call)
                // A value's work heeds no signal, so it goes on; a stream ends with its caller.
                running = running.filter((one) => one !== call || !one.stream)
              } else {
                const call = running[n % Math.max(1, running.length)]
                if (call?.stream) {
                  if (kind === 'fail') call.source.stream.log.fail(new Error('broke'))
                  else await (call.result.value as AsyncGenerator<number>).return(undefined)
                } else if (kind === 'fail') call?.work.fail(new Error('broke'))
                else call?.work.open('done')
                running = running.filter((one) => one !== call)
              }
              settleRunning()
              await tick()
              expect(started).toEqual(expected)
              expect(ask.stats().queue).toMatchObject({
                running: running.length,
                waiting: waiting.length,
              })
            }
            const { completed, failed, rejected } = ask.stats().queue
            expect(ask.stats().queue).toMatchObject({ running: 0, waiting: 0 })
            expect(completed + failed).toBe(started.length)
            expect(rejected).toBe(refused)
            expect(started.length + rejected).toBe(all.length)
            expect(all.every(({ result }) => result.state !== 'pending')).toBe(true)
          },
        ),
        { numRuns: 30 },
      )
    })
  })
})
