import { getEventListeners } from 'node:events'
import { type CacheMode, onEnd, stack } from '../../src/core/index.js'
import { type HistoryClock, type Moment, now } from './history-clock.js'
import { type Make, type Watched, watchedStack } from './history-layers.js'
import type { LayerPlan } from './history-plans.js'
import { type Asked, type Probe, probed, restOf } from './history-probe.js'
import { type Behaviour, type Chunk, HistoryUpstream, type Served } from './history-upstream.js'

/** How a caller reads a stream: `whole`, `take` chunks and then leave, or not at all. */
export interface Reading {
  readonly take: 'whole' | 'nothing' | number
  readonly pauseMs: number
}

export interface CallPlan {
  readonly atMs: number
  readonly prompt: string
  readonly model: string
  readonly stream: boolean
  readonly priority: number
  readonly tenant: string | undefined
  readonly cache: CacheMode
  readonly timeoutMs: number
  readonly abortAfterMs: number | undefined
  readonly reading: Reading
}

/** A random history before it happens. */
export interface Plan {
  readonly layers: readonly LayerPlan[]
  readonly calls: readonly CallPlan[]
  readonly script: readonly Behaviour[]
  readonly jitter: readonly number[]
  readonly clearAtMs: number | undefined
  readonly close: { readonly atMs: number; readonly timeoutMs: number } | undefined
}

/** One call as its caller saw it. */
export interface Called {
  readonly plan: CallPlan
  readonly began: Moment
  readonly meta: Map<string, unknown>
  settled: Moment | undefined
  answer: unknown
  /** The answer was over for the stack: what had come may still be read. */
  ended: Moment | undefined
  error: unknown
  readonly chunks: { readonly chunk: Chunk; readonly at: number }[]
  /** How a stream's reading ended. `unread`: nobody began. */
  reading: 'complete' | 'failed' | 'left' | 'unread' | undefined
  readEnded: Moment | undefined
  /** What came behind the end. */
  behind: unknown[]
  aborted: Moment | undefined
}

export type Stats = Record<string, Record<string, unknown>>

export interface Recorded {
  readonly plan: Plan
  readonly watched: readonly Watched[]
  readonly served: readonly Served[]
  readonly called: readonly Called[]
  /** Of calls behind the storm, or none when the stack was closed in it. */
  readonly probe: Probe | undefined
  /** Stats each time anything began or ended. */
  readonly samples: Stats[]
  readonly atRest: Stats
  readonly cleared: Moment | undefined
  readonly closed: { readonly began: Moment; readonly ended: Moment | undefined } | undefined
  readonly peak: HistoryUpstream['peak']
  readonly left: { timers: number; listeners: number; active: number }
}

export const REASON = new Error('the caller has left')

/** Lets a plan happen on the clock, and writes down what callers and upstream saw. */
export async function record(plan: Plan, clock: HistoryClock, make?: Make): Promise<Recorded> {
  const upstream = new HistoryUpstream(plan.script)
  const samples: Stats[] = []
  let draws = 0
  const random = () => plan.jitter[draws++ % plan.jitter.length] ?? 0
  const sample = () => samples.push(ask.stats() as Stats)
  const { watched, layers, others } = watchedStack(plan.layers, upstream, random, sample, make)
  const ask = stack(upstream.baseAt('here'), ...layers) as unknown as Asked
  upstream.onChange = sample
  const shared = new AbortController()
  const called: Called[] = []

  for (const call of plan.calls)
    setTimeout(() => called.push(begin(ask, call, shared.signal)), call.atMs)
  let cleared: Moment | undefined
  if (plan.clearAtMs !== undefined) {
    setTimeout(() => {
      cleared = now()
      for (const { clear } of watched) void clear?.()
    }, plan.clearAtMs)
  }
  let closed: { began: Moment; ended: Moment | undefined } | undefined
  const close = (timeoutMs: number) => {
    const closing = { began: now(), ended: undefined as Moment | undefined }
    void ask.close({ timeoutMs }).then(() => {
      closing.ended = now()
    })
    closed = closing
  }
  if (plan.close !== undefined) setTimeout(close, plan.close.atMs, plan.close.timeoutMs)

  const last = Math.max(0, ...plan.calls.map(({ atMs, timeoutMs }) => atMs + timeoutMs))
  await clock.pass(last + 100)
  let probe: Probe | undefined
  if (plan.close === undefined) {
    upstream.recover()
    await clock.pass(restOf(plan.layers))
    probe = await probed({ clock, ask, upstream, watched })
    close(1_000)
  }
  await clock.passUntil(() => closed?.ended !== undefined, 5_000)
  for (const other of others) void other.close({ timeoutMs: 100 })
  await clock.pass(500)
  return {
    plan,
    watched,
    called,
    probe,
    samples,
    cleared,
    closed,
    served: upstream.served,
    atRest: ask.stats() as Stats,
    peak: upstream.peak,
    left: {
      timers: clock.timers,
      listeners: getEventListeners(shared.signal, 'abort').length,
      active: upstream.active.here + upstream.active.elsewhere,
    },
  }
}

function begin(ask: Asked, plan: CallPlan, shared: AbortSignal): Called {
  const caller = plan.abortAfterMs === undefined ? undefined : new AbortController()
  const called: Called = {
    plan,
    began: now(),
    meta: new Map(),
    settled: undefined,
    answer: undefined,
    ended: undefined,
    error: undefined,
    chunks: [],
    reading: undefined,
    readEnded: undefined,
    behind: [],
    aborted: undefined,
  }
  if (caller) {
    setTimeout(() => {
      called.aborted = now()
      caller.abort(REASON)
    }, plan.abortAfterMs)
  }
  const { priority, tenant, cache, timeoutMs, stream, prompt, model } = plan
  const options = {
    signal: caller?.signal ?? shared,
    priority,
    tenant,
    cache,
    timeoutMs,
    meta: called.meta,
  }
  ask({ prompts: [prompt], stream, model }, options).then(
    (answer) => {
      called.settled = now()
      called.answer = answer
      onEnd(answer, () => {
        called.ended = now()
      })
      if (stream) void read(answer as AsyncGenerator<Chunk, undefined>, called)
    },
    (error: unknown) => {
      called.settled = now()
      called.error = error
    },
  )
  return called
}

async function read(stream: AsyncGenerator<Chunk, undefined>, called: Called): Promise<void> {
  const { take, pauseMs } = called.plan.reading
  const end = (reading: Called['reading']) => {
    called.reading = reading
    called.readEnded = now()
  }
  if (take === 'nothing') {
    await new Promise((resolve) => setTimeout(resolve, called.plan.timeoutMs + 50))
    end('unread')
  } else {
    try {
      while (called.chunks.length !== take) {
        const { done, value } = await stream.next()
        if (done) break
        called.chunks.push({ chunk: value, at: performance.now() })
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
      }
      const left = called.chunks.length === take
      end(left ? 'left' : 'complete')
      if (left) await stream.return(undefined)
    } catch (error) {
      called.error = error
      end('failed')
    }
  }
  for (let i = 0; i < 2; i++) {
    await stream.next().then(
      ({ done, value }) => done || called.behind.push(value),
      (error: unknown) => called.behind.push(error),
    )
  }
}
