import { base, type CallOptions, stack } from '../../src/core/index.js'
import { type QueueOptions, queue } from '../../src/layers/queue/index.js'
import { tick } from './fake-timers.js'
import { type Gate, gate } from './gate.js'
import { Service, type Way } from './shared-service.js'
import { watch } from './watch.js'

/** One of several processes: a queue around work that the test ends one by one. */
export function joined(service: Service, options: QueueOptions = {}) {
  const process = service.join()
  const works = new Map<string, Gate<string>>()
  const started: string[] = []
  const layer = queue({ concurrency: 2, ...options, shared: process })
  const ask = stack(
    base(
      (request: string) => {
        const work = gate<string>()
        works.set(request, work)
        started.push(request)
        return work.promise
      },
      { model: (request) => request.slice(0, 1) },
    ),
    layer,
  )
  const end = async (...requests: string[]) => {
    for (const request of requests) works.get(request)!.open(`answer to ${request}`)
    await tick()
  }
  const call = (request: string, more?: CallOptions) => watch(ask(request, more))
  const { asked } = process
  return { process, asked, layer, ask, call, end, works, started, stats: () => ask.stats().queue }
}

export function two(options: QueueOptions = {}, way?: Way) {
  const service = new Service(way)
  const [one, other] = [joined(service, options), joined(service, options)]
  return { service, one, other, taken: () => service.slots.get('queue')!.size }
}

/** A way that a test opens, ask by ask. */
export function held() {
  const asks: Gate[] = []
  const way = () => {
    const ask = gate()
    asks.push(ask)
    return ask.promise
  }
  const open = async () => {
    asks.shift()!.open()
    await tick()
  }
  return { way, open, asks }
}
