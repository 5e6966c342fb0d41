import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { base, collect, stack } from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { breaker } from '../../../../src/layers/breaker/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { pool } from '../../../../src/layers/pool/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { ofType, recordedEvents, told, types } from '../../../support/recorded-events.js'
import { scripted } from '../../../support/scripted.js'
import { breaking, numbers, stalling } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()

const steady = { minDelayMs: 100, random: () => 0.5 }

describe('events', () => {
  it('report a call in order, from its start over a retry to its end', async () => {
    const events = recordedEvents()
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

  it('report a cache hit without an attempt, and a stale hit whose renewal continues under the same id', async () => {
    const ask = stack(async (text: string) => text.length, cache({ ttlMs: 1_000, staleMs: 1_000 }))
    await ask('hello')
    const events = recordedEvents()
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

  it('report the first token of a stream, and its end at the last chunk', async () => {
    const events = recordedEvents()
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

  it('distinguish a stream that breaks from one that its reader leaves', async () => {
    const events = recordedEvents()
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

  it('report no first token for an empty stream', async () => {
    const events = recordedEvents()
    await collect(await stack(() => numbers(0))())
    expect(types(events)).toEqual(['call:start', 'attempt:start', 'attempt:end', 'call:end'])
  })

  it('report each change of a breaker, and the calls it refuses', async () => {
    const events = recordedEvents()
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

  it('report how long a call waits for its turn and for a connection', async () => {
    const events = recordedEvents()
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

  it('report which call another one joins', async () => {
    const events = recordedEvents()
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

  it('report which limit cuts off a call: that of a layer or its own', async () => {
    const events = recordedEvents()
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

  it('report an abort by the caller as such, once, and a closed stack by its code', async () => {
    const events = recordedEvents()
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

  it('have an id for each call, and name the outer call when a stack is the base of another', async () => {
    const events = recordedEvents()
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

  it('give an error from outside the library the code ERROR, whatever it contains', async () => {
    const events = recordedEvents()
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

  it('cannot be changed by one listener for the others', async () => {
    const events = recordedEvents()
    await stack(async () => 1)()
    expect(events.every((event) => Object.isFrozen(event))).toBe(true)
  })
})
