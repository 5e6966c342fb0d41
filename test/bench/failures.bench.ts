import { breaker, retry, stack } from 'blossom-stack'
import { circuitBreaker, handleAll, SamplingBreaker } from 'cockatiel'
import CircuitBreaker from 'opossum'
import type { Bench } from './bench.js'
import { DEADLINE_MS } from './contenders/contender.js'
import { BREAKER, COCKATIEL, OURS } from './contenders/names.js'
import { fullStack } from './contenders/ours.js'
import type { Sample } from './table.js'

/** The argument decides whether it fails. */
type Ask = (fails: boolean) => Promise<unknown>

const failure = Object.assign(new Error('upstream is down'), { code: 'DOWN' })
const fn = async (fails: boolean) => {
  if (fails) throw failure
  return 'fine'
}

const WINDOW_MS = 60_000
/** Nobody's window opens: all but the failures at its end went well. */
const makers: Readonly<Record<string, () => { ask: Ask; close?: () => unknown }>> = {
  'the function alone': () => ({ ask: fn }),
  [BREAKER]: () => {
    const ask = stack(fn, breaker({ windowMs: WINDOW_MS, failureRate: 1 }))
    return { ask, close: () => ask.close() }
  },
  [OURS]: () => {
    const [keep, share, time, , , queue, pool] = fullStack(16)
    const layers = [
      keep,
      share,
      time,
      retry({ when: () => false }),
      breaker({ windowMs: WINDOW_MS, failureRate: 1 }),
      queue,
      pool,
    ]
    const call = stack(
      async ({ fails }: { fails: boolean; n: number }) => fn(fails),
      ...(layers as never[]),
    )
    let n = 0
    return {
      ask: (fails) => call({ fails, n: n++ }, { timeoutMs: DEADLINE_MS }),
      close: () => call.close(),
    }
  },
  opossum: () => {
    const circuit = new CircuitBreaker(fn, {
      timeout: false,
      rollingCountTimeout: WINDOW_MS,
      errorThresholdPercentage: 100,
    })
    return { ask: (fails) => circuit.fire(fails), close: () => circuit.shutdown() }
  },
  [COCKATIEL]: () => {
    const policy = circuitBreaker(handleAll, {
      halfOpenAfter: 30_000,
      breaker: new SamplingBreaker({ threshold: 0.99, duration: WINDOW_MS, minimumRps: 1 }),
    })
    return { ask: (fails) => policy.execute(() => fn(fails)) }
  },
}

/** What a failed call costs with so many calls in the breaker's window. */
async function costAt(
  calls: number,
  failures: number,
  make: () => { ask: Ask; close?: () => unknown },
  maxMs = 300,
): Promise<Sample> {
  const { ask, close } = make()
  for (let i = 0; i < calls; i++) await ask(false)
  let done = 0
  let failed = 0
  const start = performance.now()
  // Where a failure takes milliseconds, fewer are enough.
  while (done < failures && performance.now() - start < maxMs) {
    done++
    await ask(true).catch((error) => {
      if (error === failure) failed++
    })
  }
  const microseconds = ((performance.now() - start) / done) * 1_000
  await close?.()
  if (failed !== done)
    throw new Error(`${done - failed} of ${done} calls did not fail as they should.`)
  return { value: microseconds }
}

/** What a failure costs when much has happened before. */
export async function run(bench: Bench): Promise<void> {
  for (const make of Object.values(makers)) await costAt(100, bench.count(5_000, 40), make, 2_000)
  for (const calls of [100, 10_000, 50_000]) {
    const turns = Object.entries(makers).map(([name, make]) => [
      name,
      () => costAt(calls, bench.count(4_000, 40), make),
    ])
    const title = `a failed call with ${calls.toLocaleString('en-US')} calls in the breaker's window`
    if (bench.quick && calls > 10_000) continue
    await bench.table(`${calls}`, title, 'µs', Object.fromEntries(turns))
  }
}
