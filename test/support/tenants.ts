import { type CallOptions, stack } from '../../src/core/index.js'
import { type QueueOptions, queue } from '../../src/layers/queue/index.js'
import { tick } from './fake-timers.js'
import { type Gate, gate } from './gate.js'
import { type Watched, watch } from './watch.js'

/** A queue around work that the test ends one by one, for tenants named by a letter each. */
export function tenants(options: QueueOptions = {}) {
  const works: { id: string; work: Gate<string> }[] = []
  const started: string[] = []
  const ask = stack(
    (id: string) => {
      const work = gate<string>()
      works.push({ id, work })
      started.push(id)
      return work.promise
    },
    queue({ concurrency: 1, ...options }),
  )
  /** `a3`: the third call of tenant `a`; a digit alone has no tenant. */
  const call = (id: string, more: CallOptions = {}): Watched<string> => {
    const tenant = id.replace(/\d+$/, '')
    return watch(ask(id, { ...(tenant !== '' && { tenant }), ...more }))
  }
  const calls = (tenant: string, count: number, more?: CallOptions) =>
    Array.from({ length: count }, (_, i) => call(`${tenant}${i}`, more))
  /** Ends the oldest that runs, so many times. */
  const end = async (times = 1) => {
    for (let i = 0; i < times && works.length > 0; i++) {
      works.shift()!.work.open('done')
      await tick()
    }
  }
  /** Ends as many, and gives the calls that have begun meanwhile. */
  const turns = async (times: number) => {
    const before = started.length
    await end(times)
    return started.slice(before)
  }
  /** The oldest that runs fails. */
  const fail = async (error: Error) => {
    works.shift()!.work.fail(error)
    await tick()
  }
  const endAll = () => end(Number.POSITIVE_INFINITY)
  return { ask, call, calls, end, endAll, turns, fail, started, stats: () => ask.stats().queue }
}

/** The tenants in the order in which their calls began. */
export const inOrder = (started: readonly string[]) =>
  started.map((id) => id.replace(/\d+$/, '')).join('')
export const share = (started: readonly string[], tenant: string) =>
  started.filter((id) => id.startsWith(tenant)).length
