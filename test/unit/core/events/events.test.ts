import { AsyncLocalStorage } from 'node:async_hooks'
import { Channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  ConfigError,
  type Context,
  collect,
  onEvent,
  type StackEvent,
  type StackEventType,
  stack,
  type TimelineEntry,
} from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { breaker } from '../../../../src/layers/breaker/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { pool } from '../../../../src/layers/pool/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { scripted } from '../../../support/scripted.js'
import { breaking, numbers, stalling } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

const stops: (() => void)[] = []

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  for (const stop of stops.splice(0)) stop()
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)

/** All events from now on. */
function recorded(): StackEvent[] {
  const events: StackEvent[] = []
  stops.push(onEvent((event) => events.push(event)))
  return events
}

const types = (events: readonly { type: string }[]) => events.map(({ type }) => type)

/** An event without what differs from run to run. */
function told({ call: _call, at: _at, stack: _stack, ...rest }: StackEvent): object {
  return rest
}

const ofType = <Type extends StackEventType>(events: readonly StackEvent[], type: Type) =>
  events.filter((event): event is Extract<StackEvent, { type: Type }> => event.type === type)

const steady = { minDelayMs: 100, random: () => 0.5 }

describe('events', () => {
  it('tell a call from its start over a retry to its end, in order', async () => {
    const events = recorded()
    const answer = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      if (attempts++ === 0) throw upstreamError('SERVER')
      return 'well'
    }
    let attempts = 0
    const ask = stack(answer, cache(), retry(steady), pool())
    const call = ask('hello')
    await tick(1_000)
    expect(await call).toBe('well')
    expect(events.map(told)).toEqual([
      { type: 'call:start' },
      { type: 'cache', layer: 'cache', status: 'miss' },
      { type: 'attempt:start', attempt: 1, member: 0 },
      {
        type: 'attempt:end',
        attempt: 1,
        member: 0,
        outcome: 'failed',
        code: 'SERVER',
        durationMs: 20,
      },
      { type: 'retry', layer: 'retry', attempt: 1, delayMs: 50, code: 'SERVER' },
      { type: 'attempt:start', attempt: 2, member: 0 },
      { type: 'attempt:end', attempt: 2, member: 0, outcome: 'complete', durationMs: 20 },
      { type: 'call:end', outcome: 'complete', durationMs: 90, queuedMs: 0, attempts: 2 },
    ])
    expect(new Set(events.map(({ stack }) => stack))).toEqual(new Set(['answer']))
    expect(new Set(events.map(({ call }) => call)).size).toBe(1)
    const times = events.map(({ at }) => at)
    expect(times).toEqual([...times].sort((a, b) => a - b))
  })

  it('tell a hit, which makes no attempt, and a stale one, whose renewal goes on under its id', async () => {
    const ask = stack(async (text: string) => text.length, cache({ ttlMs: 1_000, staleMs: 1_000 }))
    await ask('hello')
    const events = recorded()
    await ask('hello')
    expect(events.map(told)).toEqual([
      { type: 'call:start' },
      { type: 'cache', layer: 'cache', status: 'hit' },
      { type: 'call:end', outcome: 'complete', durationMs: 0, queuedMs: 0, attempts: 0 },
    ])
    await tick(1_500)
    events.length = 0
    await ask('hello')
    await tick()
    expect(ofType(events, 'cache').map(({ status }) => status)).toEqual(['stale'])
    expect(ofType(events, 'attempt:end')).toHaveLength(1)
    expect(new Set(events.map(({ call }) => call)).size).toBe(1)
  })

  it("tell a stream's first token, and its end at the last chunk", async () => {
    const events = recorded()
    const stream = await stack(async function* count(n: number) {
      await new Promise((resolve) => setTimeout(resolve, 30))
      yield* numbers(n)
    })
    const opening = stream(3)
    await tick(30)
    const chunks = await opening
    expect(types(events)).toEqual(['call:start', 'attempt:start', 'first-token'])
    expect(ofType(events, 'first-token')[0]?.afterMs).toBe(30)
    expect(await collect(chunks)).toEqual([0, 1, 2])
    expect(events.slice(3).map(told)).toEqual([
      {
        type: 'attempt:end',
        attempt: 1,
        outcome: 'complete',
        stream: true,
        firstTokenMs: 30,
        durationMs: 30,
      },
      {
        type: 'call:end',
        outcome: 'complete',
        stream: true,
        durationMs: 30,
        queuedMs: 0,
        firstTokenMs: 30,
        attempts: 1,
      },
    ])
  })

  it('tell a stream that broke from one that its reader left', async () => {
    const events = recorded()
    const broken = stack(() => breaking(2, upstreamError('STREAM')))
    await failure(collect(await broken()))
    expect(ofType(events, 'call:end').map(told)).toMatchObject([
      { outcome: 'failed', code: 'STREAM' },
    ])
    const long = stack(() => stalling(2))
    for await (const _ of await long()) break
    expect(ofType(events, 'call:end')[1]).toMatchObject({ outcome: 'left' })
    expect(ofType(events, 'attempt:end').map(({ outcome }) => outcome)).toEqual(['failed', 'left'])
  })

  it('tell no first token of a stream that has none', async () => {
    const events = recorded()
    await collect(await stack(() => numbers(0))())
    expect(types(events)).toEqual(['call:start', 'attempt:start', 'attempt:end', 'call:end'])
  })

  it('tell each change of a breaker, and who was refused', async () => {
    const events = recorded()
    const answer = scripted<string>(upstreamError('SERVER'), upstreamError('SERVER'), 'well')
    const ask = stack(answer, breaker({ minimumCalls: 2, resetMs: 500 }))
    await failure(ask('1'))
    await failure(ask('2'))
    await failure(ask('3'))
    await tick(500)
    await ask('4')
    const states = ofType(events, 'breaker')
    expect(states.map(({ layer, state }) => [layer, state])).toEqual([
      ['breaker', 'open'],
      ['breaker', 'half-open'],
      ['breaker', 'closed'],
    ])
    const ends = ofType(events, 'call:end')
    expect(ends[2]).toMatchObject({
      outcome: 'failed',
      code: 'BREAKER_OPEN',
      layer: 'breaker',
      attempts: 0,
    })
    expect(states.map(({ call }) => call)).toEqual([ends[1]?.call, ends[1]?.call, ends[3]?.call])
    await ask.close()
  })

  it('tell how long a call waited for its turn and for a connection', async () => {
    const events = recorded()
    const first = gate<number>()
    const answers = [() => first.promise, async () => 2]
    for (const layer of [queue({ concurrency: 1 }), pool({ connections: 1 })]) {
      let calls = 0
      const ask = stack(() => answers[calls++ % 2]!(), layer)
      const one = ask()
      const two = ask()
      await tick(40)
      first.open(1)
      await Promise.all([one, two])
      const [waited] = ofType(events, 'queued')
      if (layer.name === 'queue')
        expect(waited && told(waited)).toEqual({ type: 'queued', layer: 'queue', waitedMs: 40 })
      else expect(waited).toMatchObject({ layer: 'pool' })
      expect(ofType(events, 'call:end').find(({ call }) => call === waited?.call)?.queuedMs).toBe(
        waited?.waitedMs,
      )
      events.length = 0
    }
  })

  it('tell whom a call joined', async () => {
    const events = recorded()
    const answer = gate<string>()
    const ask = stack(() => answer.promise, dedupe())
    const both = [ask('same'), ask('same')]
    answer.open('well')
    await Promise.all(both)
    const [first, second] = ofType(events, 'call:start')
    expect(ofType(events, 'joined').map(({ call, layer, work }) => [call, layer, work])).toEqual([
      [second?.call, 'dedupe', first?.call],
    ])
    expect(ofType(events, 'call:end').map(({ attempts }) => attempts)).toEqual([1, 0])
    events.length = 0
    const double = stack(async (all: number[]) => all.map((n) => n * 2), batcher())
    const batch = [double([1]), double([2])]
    await tick(5)
    await Promise.all(batch)
    expect(ofType(events, 'joined').map(({ layer, work }) => [layer, work])).toEqual([
      ['batcher', ofType(events, 'call:start')[0]?.call],
    ])
  })

  it("tell which limit has cut a call: a layer's, or its own", async () => {
    const events = recorded()
    const slow = base(() => never<string>(), { streams: () => true })
    const ask = stack(slow, timeout({ ms: 1_000, firstTokenMs: 50 }))
    const cut = failure(ask('hello'))
    await tick(50)
    await cut
    const own = failure(ask('hello', { timeoutMs: 20 }))
    await tick(20)
    await own
    const until = failure(ask('hello', { deadline: performance.now() + 30 }))
    await tick(30)
    await until
    expect(ofType(events, 'timeout').map(told)).toEqual([
      { type: 'timeout', layer: 'timeout', phase: 'first-token', limitMs: 50 },
      { type: 'timeout', phase: 'total', limitMs: 20 },
      { type: 'timeout', phase: 'total', limitMs: 30 },
    ])
    expect(ofType(events, 'call:end').map(({ code, layer }) => [code, layer])).toEqual([
      ['TIMEOUT', 'timeout'],
      ['TIMEOUT', undefined],
      ['TIMEOUT', undefined],
    ])
  })

  it("tell a caller's abort as what it is, once, and a closed stack by its code", async () => {
    const events = recorded()
    const heeding = (_: string, { signal }: { signal: AbortSignal }) =>
      new Promise<string>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new Error('stopped'))),
      )
    const ask = stack(heeding, retry())
    const caller = new AbortController()
    const aborted = failure(ask('hello', { signal: caller.signal }))
    caller.abort(new Error('the caller Marmalade has left'))
    await aborted
    await tick()
    expect(events.slice(2).map(told)).toMatchObject([
      { type: 'call:end', outcome: 'aborted' },
      { type: 'attempt:end', outcome: 'aborted' },
    ])
    expect(inspect(events)).not.toMatch(/Marmalade|stopped/)
    const closed = failure(ask('hello'))
    const closing = ask.close({ timeoutMs: 0 })
    await tick(1_000)
    await closed
    await closing
    expect(ofType(events, 'call:end')[1]).toMatchObject({ outcome: 'failed', code: 'CLOSED' })
    expect(ofType(events, 'attempt:end')[1]).toMatchObject({ outcome: 'failed', code: 'CLOSED' })
  })

  it('have an id for each call, and name the call that asked when a stack is the base of another', async () => {
    const events = recorded()
    const inner = stack(async (n: number) => n + 1)
    const outer = stack(async (n: number, context) => inner(n, context as never), retry())
    await Promise.all([outer(1), outer(2)])
    const starts = ofType(events, 'call:start')
    expect(new Set(starts.map(({ call }) => call)).size).toBe(4)
    const parents = starts.map(({ parent }) => parent)
    expect(parents.filter((parent) => parent !== undefined).sort()).toEqual(
      starts
        .filter((s) => !s.parent)
        .map(({ call }) => call)
        .sort(),
    )
  })

  it('call an error that is not of this library ERROR, whatever it holds', async () => {
    const events = recorded()
    const hostile = new Proxy(new Error('secret'), {
      get() {
        throw new Error('secret')
      },
      getPrototypeOf() {
        throw new Error('secret')
      },
    })
    for (const error of [
      Object.assign(new Error('secret'), { code: 'SECRET' }),
      'secret',
      undefined,
      hostile,
    ]) {
      // Not `failure()`: an async function cannot give back the proxy.
      await stack(async () => {
        throw error
      })().catch(() => {})
    }
    expect(ofType(events, 'call:end').map(({ code }) => code)).toEqual([
      'ERROR',
      'ERROR',
      'ERROR',
      'ERROR',
    ])
    expect(inspect(events)).not.toMatch(/secret/i)
  })

  it('cannot be changed by one listener for another', async () => {
    const events = recorded()
    await stack(async () => 1)()
    expect(events.every((event) => Object.isFrozen(event))).toBe(true)
  })
})

describe('onEvent', () => {
  it('costs a call nothing while nobody listens: nothing is made or published', async () => {
    const publish = vi.spyOn(Channel.prototype, 'publish')
    const runStores = vi.spyOn(Channel.prototype, 'runStores')
    const seen = spy()
    const ask = stack(
      async (n: number) => n,
      cache(),
      retry(),
      seen,
      breaker(),
      queue(),
      timeout({ ms: 1_000 }),
    )
    await ask(1)
    expect(seen.context.trace).toBeUndefined()
    stops.push(onEvent(() => {}))
    stops.pop()?.()
    await ask(2)
    expect(seen.context.trace).toBeUndefined()
    expect(publish).not.toHaveBeenCalled()
    expect(runStores).not.toHaveBeenCalled()
    await ask.close()
  })

  it('is on for the calls that begin after it, and off again at once', async () => {
    const answer = gate<number>()
    const ask = stack(() => answer.promise)
    const before = ask()
    const events = recorded()
    const during = ask()
    const counted = events.length
    stops.pop()?.()
    answer.open(1)
    await Promise.all([before, during])
    expect(types(events)).toEqual(['call:start', 'attempt:start'])
    expect(events).toHaveLength(counted)
  })

  it('warns once when a listener throws or rejects, and the call goes on', async () => {
    const said = catchWarnings()
    stops.push(
      onEvent(() => {
        throw new RangeError('secret')
      }),
      onEvent(async () => {
        throw new SyntaxError('secret')
      }),
    )
    const ask = stack(async (n: number) => n, cache(), retry())
    expect(await ask(1)).toBe(1)
    expect(await ask(2)).toBe(2)
    expect(said.filter((text) => text.startsWith('onEvent()'))).toEqual([
      'onEvent() threw RangeError; the call went on.',
      'onEvent() threw SyntaxError; the call went on.',
    ])
  })

  it('may abort the very call that it hears of', async () => {
    const caller = new AbortController()
    const events = recorded()
    stops.push(onEvent(({ type }) => type === 'call:start' && caller.abort('enough')))
    const ran = scripted('well')
    expect(await failure(stack(ran)('hello', { signal: caller.signal, timeoutMs: 1_000 }))).toBe(
      'enough',
    )
    expect(ran.calls).toHaveLength(0)
    expect(vi.getTimerCount()).toBe(0)
    expect(ofType(events, 'call:end').map(({ outcome }) => outcome)).toEqual(['aborted'])
  })

  it('refuses what is no listener', () => {
    expect(() => onEvent('log' as never)).toThrow(ConfigError)
    expect(() => base(async () => 1, { onEvent: 'log' as never })).toThrow(
      /base: option "onEvent" must be a function/,
    )
  })

  it('of a base hears of the stacks on it and of no others', async () => {
    const heard: StackEvent[] = []
    const mine = async (n: number) => n
    const theirs = async (n: number) => n
    const ask = stack(base(mine, { onEvent: (event) => void heard.push(event) }), retry())
    await stack(theirs)(1)
    expect(heard).toEqual([])
    await ask(1)
    expect(types(heard)).toEqual(['call:start', 'attempt:start', 'attempt:end', 'call:end'])
    expect(new Set(heard.map(({ stack }) => stack))).toEqual(new Set(['mine']))
    // A stack inside that has no listener of its own is heard as well.
    heard.length = 0
    const inner = stack(scripted<string>(upstreamError('SERVER'), 'well'), retry(steady))
    const through = async (text: string, context: Context) => inner(text, context as never)
    const outer = stack(base(through, { onEvent: (event) => void heard.push(event) }))
    const call = outer('hello')
    await tick(1_000)
    await call
    expect(ofType(heard, 'retry')).toHaveLength(1)
  })
})

describe('channels', () => {
  it('carry one type of event each', async () => {
    const messages: unknown[] = []
    const listen = (message: unknown, name: string | symbol) => messages.push([name, message])
    subscribe('blossom-stack:retry', listen)
    stops.push(() => unsubscribe('blossom-stack:retry', listen))
    const call = stack(
      scripted<string>(upstreamError('RATE_LIMITED'), 'well'),
      retry(steady),
    )('hello')
    await tick(1_000)
    await call
    expect(messages).toMatchObject([
      ['blossom-stack:retry', { type: 'retry', layer: 'retry', code: 'RATE_LIMITED', delayMs: 50 }],
    ])
  })

  it("are told in their own call's async context, whatever timer or other call sets them off", async () => {
    const store = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    stops.push(onEvent(({ type }) => seen.push(`${store.getStore()}: ${type}`)))
    const work = gate()
    const ask = stack((wait: boolean) => (wait ? work.promise : never()), queue({ concurrency: 1 }))
    const calls = [
      store.run('runs', () => ask(true)),
      store.run('waits', () => failure(ask(false, { timeoutMs: 50 }))),
    ]
    seen.length = 0
    store.run('stranger', () => work.open())
    await tick(50)
    await Promise.all(calls)
    expect(seen.sort()).toEqual([
      'runs: attempt:end',
      'runs: call:end',
      'waits: attempt:start',
      'waits: call:end',
      'waits: queued',
      'waits: timeout',
    ])
  })

  it('run a call in the stores bound to it, and follow it to the end of its answer', async () => {
    const spans = new AsyncLocalStorage<{ call: string }>()
    const channels = tracingChannel<
      { call: string },
      { call: string; outcome?: string; code?: string }
    >('blossom-stack:call')
    const seen: unknown[] = []
    const note = (what: string) => (message: { call: string; outcome?: string; code?: string }) =>
      void seen.push([what, message.outcome, message.code])
    const all = {
      start: note('start'),
      end: note('end'),
      asyncStart: note('asyncStart'),
      asyncEnd: note('asyncEnd'),
      error: note('error'),
    }
    channels.subscribe(all as never)
    channels.start.bindStore(spans, ({ call }) => ({ call }))
    stops.push(() => {
      channels.unsubscribe(all as never)
      channels.start.unbindStore(spans)
    })
    const inside: unknown[] = []
    const ask = stack(async function* (error: unknown) {
      inside.push(spans.getStore())
      yield 1
      if (error) throw error
    })
    const stream = await ask(undefined)
    expect(inside).toEqual([{ call: expect.any(String) }])
    expect(spans.getStore()).toBeUndefined()
    seen.push('handed out')
    await collect(stream)
    expect(seen).toEqual([
      ['start', undefined, undefined],
      ['end', undefined, undefined],
      ['asyncStart', undefined, undefined],
      'handed out',
      ['asyncEnd', 'complete', undefined],
    ])
    seen.length = 0
    await failure(collect(await ask(upstreamError('STREAM'))))
    expect(seen.slice(3)).toEqual([
      ['error', 'failed', 'STREAM'],
      ['asyncEnd', 'failed', 'STREAM'],
    ])
  })
})

describe('the timeline', () => {
  it('is left in the meta of a caller who looks into it, and reads as what happened when', async () => {
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

  it('has 200 entries at most, one of them the end', async () => {
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

  it("is the caller's own, which a stack further in leaves alone, and goes on with what the call leaves behind", async () => {
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

  it('is no reason to fail when it cannot be left', async () => {
    catchWarnings()
    class Full extends Map<string, unknown> {
      override set(): never {
        throw new Error('full')
      }
    }
    expect(await stack(async (n: number) => n)(1, { meta: new Full() })).toBe(1)
  })
})
