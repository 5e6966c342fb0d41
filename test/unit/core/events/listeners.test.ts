import { AsyncLocalStorage } from 'node:async_hooks'
import { Channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  base,
  ConfigError,
  type Context,
  collect,
  onEvent,
  type StackEvent,
  stack,
} from '../../../../src/core/index.js'
import { breaker } from '../../../../src/layers/breaker/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { ofType, recordedEvents, types } from '../../../support/recorded-events.js'
import { scripted } from '../../../support/scripted.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()

const steady = { minDelayMs: 100, random: () => 0.5 }

describe('onEvent', () => {
  it('costs nothing while nobody listens: no event is made or published', async () => {
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
    onEvent(() => {})()
    await ask(2)
    expect(seen.context.trace).toBeUndefined()
    expect(publish).not.toHaveBeenCalled()
    expect(runStores).not.toHaveBeenCalled()
    await ask.close()
  })

  it('applies to calls that begin after it is set, and stops at once when removed', async () => {
    const answer = gate<number>()
    const ask = stack(() => answer.promise)
    const before = ask()
    const events: StackEvent[] = []
    const stop = onEvent((event) => events.push(event))
    onTestFinished(stop)
    const during = ask()
    const counted = events.length
    stop()
    answer.open(1)
    await Promise.all([before, during])
    expect(types(events)).toEqual(['call:start', 'attempt:start'])
    expect(events).toHaveLength(counted)
  })

  it('warns once when a listener throws or rejects, and lets the call continue', async () => {
    const said = catchWarnings()
    onTestFinished(
      onEvent(() => {
        throw new RangeError('secret')
      }),
    )
    onTestFinished(
      onEvent(async () => {
        throw new SyntaxError('secret')
      }),
    )
    const ask = stack(async (n: number) => n, cache(), retry())
    expect(await ask(1)).toBe(1)
    expect(await ask(2)).toBe(2)
    expect(said.filter((text) => text.startsWith('onEvent()'))).toEqual([
      'onEvent() threw RangeError. The call continued.',
      'onEvent() threw SyntaxError. The call continued.',
    ])
  })

  it('may abort the very call it is told about', async () => {
    const caller = new AbortController()
    const events = recordedEvents()
    onTestFinished(onEvent(({ type }) => type === 'call:start' && caller.abort('enough')))
    const ran = scripted('well')
    expect(await failure(stack(ran)('hello', { signal: caller.signal, timeoutMs: 1_000 }))).toBe(
      'enough',
    )
    expect(ran.calls).toHaveLength(0)
    expect(vi.getTimerCount()).toBe(0)
    expect(ofType(events, 'call:end').map(({ outcome }) => outcome)).toEqual(['aborted'])
  })

  it('refuses anything but a listener', () => {
    expect(() => onEvent('log' as never)).toThrow(ConfigError)
    expect(() => base(async () => 1, { onEvent: 'log' as never })).toThrow(
      /base: option "onEvent" must be a function/,
    )
  })

  it('of a base receives events only from the stacks on that base', async () => {
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
    onTestFinished(() => void unsubscribe('blossom-stack:retry', listen))
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

  it('publish in the async context of their own call, whatever timer or other call triggers the event', async () => {
    const store = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    onTestFinished(onEvent(({ type }) => seen.push(`${store.getStore()}: ${type}`)))
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

  it('run a call in the stores bound to them, until the end of its answer', async () => {
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
    onTestFinished(() => {
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
