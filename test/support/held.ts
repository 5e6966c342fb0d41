import { vi } from 'vitest'
import { base, type Context } from '../../src/core/index.js'
import { type Gate, gate } from './gate.js'
import { upstreamError } from './upstream.js'

export interface HeldAsk {
  readonly id: string
  readonly model?: string
  readonly own?: boolean
}

/** A function whose calls last until the test ends them, by fake timers, and those that began. */
export function held(nameOf = ({ id }: HeldAsk, _: Context): string => id) {
  const works = new Map<string, Gate<string>>()
  const started: string[] = []
  const fn = base(
    (ask: HeldAsk, context: Context) => {
      const work = gate<string>()
      works.set(ask.id, work)
      started.push(nameOf(ask, context))
      return work.promise
    },
    { ownKey: ({ own }) => own === true, model: ({ model }) => model },
  )
  const end = async (...ids: string[]) => {
    for (const id of ids) works.get(id)!.open('done')
    await vi.advanceTimersByTimeAsync(0)
  }
  /** Upstream answers with a 429. */
  const refuse = async (id: string, retryAfter?: number) => {
    works.get(id)!.fail(upstreamError('RATE_LIMITED', { retryAfter }))
    await vi.advanceTimersByTimeAsync(0)
  }
  return { fn, started, end, refuse }
}
