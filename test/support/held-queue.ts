import { type CallOptions, stack } from '../../src/core/index.js'
import { type QueueOptions, queue } from '../../src/layers/queue/index.js'
import { tick } from './fake-timers.js'
import { type Gate, gate } from './gate.js'
import { watch } from './watch.js'

/** A queue around work that the test ends one by one; it heeds no signal. */
export function heldQueue(options: QueueOptions = {}) {
  const works = new Map<string, Gate<string>>()
  const started: string[] = []
  const at: number[] = []
  const ask = stack((request: string) => {
    const work = gate<string>()
    works.set(request, work)
    started.push(request)
    at.push(performance.now())
    return work.promise
  }, queue(options))
  const end = async (...requests: string[]) => {
    for (const request of requests) works.get(request)!.open(`answer to ${request}`)
    await tick()
  }
  const call = (request: string, options?: CallOptions) => watch(ask(request, options))
  return { ask, call, end, works, started, at, stats: () => ask.stats().queue }
}
