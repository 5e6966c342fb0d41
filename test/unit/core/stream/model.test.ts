import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Cancel, type StreamEnd } from '../../../../src/core/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { driven, endsOf } from '../../../support/streams.js'
import { type Watched, watch } from '../../../support/watch.js'

useFakeTimers()
afterEach(() => expect(vi.getTimerCount()).toBe(0))

describe('Stream', () => {
  it('behaves like its model for every schedule', async () => {
    type Op =
      | { op: 'push'; commits: boolean }
      | { op: 'end' | 'fail' | 'next' | 'return' | 'abort' }
    const op: fc.Arbitrary<Op> = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ op: fc.constant('push' as const), commits: fc.boolean() }),
      },
      { weight: 6, arbitrary: fc.constant({ op: 'next' as const }) },
      {
        weight: 1,
        arbitrary: fc.constantFrom<Op>(
          { op: 'end' },
          { op: 'fail' },
          { op: 'return' },
          { op: 'abort' },
        ),
      },
    )
    const failed = new Error('failed')
    await fc.assert(
      fc.asyncProperty(fc.array(op, { maxLength: 40 }), fc.boolean(), async (ops, flushes) => {
        const cancel = new Cancel()
        const { stream, log, stops } = driven<{ n: number; commits: boolean }>({
          cancel,
          commits: (chunk) => chunk.commits,
          unreadMs: 1000,
        })
        const ready = watch(stream.log.ready)
        const ends = endsOf(stream)
        const results: Watched<IteratorResult<{ n: number }, undefined>>[] = []
        const model = new Model()
        for (const step of ops) {
          if (step.op === 'push') {
            log.push({ n: model.sent, commits: step.commits })
            model.push(step.commits)
          } else if (step.op === 'next') {
            results.push(watch(stream.next()))
            model.next()
          } else {
            if (step.op === 'abort') cancel.abort('gone')
            else if (step.op === 'fail') log.fail(failed)
            else if (step.op === 'end') log.end()
            else void stream[step.op]()
            model[step.op]()
          }
          if (flushes) await tick()
        }
        await tick()
        const seen = results.map(({ state, value, error }) =>
          state === 'pending'
            ? 'waits'
            : state === 'rejected'
              ? `error ${String(error)}`
              : value?.done
                ? 'done'
                : value?.value?.n,
        )
        expect(seen).toEqual(model.results)
        expect(ends.map(({ outcome }) => outcome)).toEqual(
          model.outcome === undefined ? [] : [model.outcome],
        )
        expect(ready.state).toBe(model.ready)
        const delivered = seen.filter((one) => typeof one === 'number')
        expect(delivered).toEqual(delivered.map((_, i) => i))
        if (ends[0]?.outcome === 'complete')
          expect(seen.some((one) => String(one).startsWith('error'))).toBe(false)
        void stream.return()
        await tick()
        expect(ends).toHaveLength(1)
        expect(stops.length).toBeLessThanOrEqual(1)
        expect(cancel.watched).toBe(false)
        expect(vi.getTimerCount()).toBe(0)
      }),
      { numRuns: 500 },
    )
  })
})

/** What a stream does, told without promises. */
class Model {
  sent = 0
  ready: 'pending' | 'resolved' | 'rejected' = 'pending'
  outcome: StreamEnd['outcome'] | undefined
  readonly results: (number | 'waits' | 'done' | `error ${string}`)[] = []
  #held: number[] = []
  #waiting: number[] = []
  #sourceEnded = false
  #error: string | undefined

  push(commits: boolean) {
    if (this.outcome || this.#sourceEnded) return
    this.#held.push(this.sent++)
    if (commits && this.ready === 'pending') this.ready = 'resolved'
    this.#serve()
  }

  end() {
    if (this.outcome || this.#sourceEnded) return
    this.#sourceEnded = true
    if (this.ready === 'pending') this.ready = 'resolved'
    this.#serve()
  }

  fail() {
    if (this.outcome || this.#sourceEnded) return
    if (this.ready === 'pending') this.#held = []
    this.#over('failed', 'Error: failed')
  }

  abort() {
    if (this.outcome) return
    this.#held = []
    this.#over('failed', 'gone')
  }

  return() {
    this.#held = []
    this.#error = undefined
    if (!this.outcome) this.#over(this.#sourceEnded ? 'complete' : 'left')
  }

  next() {
    this.#waiting.push(this.results.push('waits') - 1)
    this.#serve()
  }

  #serve() {
    while (this.#waiting.length > 0 && this.#held.length > 0 && this.ready === 'resolved') {
      this.results[this.#waiting.shift() as number] = this.#held.shift() as number
    }
    if (this.#sourceEnded && this.#held.length === 0 && !this.outcome) this.#over('complete')
    if (this.outcome && this.#held.length === 0) this.#settle()
  }

  #over(outcome: StreamEnd['outcome'], error?: string) {
    this.outcome = outcome
    this.#error = error
    if (this.ready === 'pending') this.ready = outcome === 'failed' ? 'rejected' : 'resolved'
    this.#settle()
  }

  #settle() {
    for (const at of this.#waiting.splice(0)) {
      this.results[at] = this.#error === undefined ? 'done' : `error ${this.#error}`
      this.#error = undefined
    }
  }
}
