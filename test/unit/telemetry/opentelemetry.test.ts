import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createGateway, type RequestLog } from '../../../src/gateway/index.js'
import {
  type BlossomLayer,
  type BlossomOptions,
  base,
  ConfigError,
  type Context,
  createBlossom,
  dedupe,
  fallback,
  hedge,
  queue,
  rateLimit,
  retry,
  stack,
  standard,
  timeout,
} from '../../../src/index.js'
import { type InstrumentOptions, instrument } from '../../../src/telemetry/index.js'
import { scripted, startLocalBlossom } from '../../../src/testing/index.js'
import { gate } from '../../support/gate.js'
import { childrenOf, eventsOf, type Sdk, spanNamed, startSdk } from '../../support/opentelemetry.js'
import { upstreamError } from '../../support/upstream.js'
import { catchWarnings } from '../../support/warnings.js'
import { failure } from '../../support/watch.js'

let sdk: Sdk
const closing: { close(): Promise<void> | void }[] = []
beforeEach(() => {
  sdk = startSdk()
})
afterEach(async () => {
  for (const thing of closing.splice(0).reverse()) await thing.close()
  await sdk.stop()
})

const instrumented = (of: Parameters<typeof instrument>[0], options?: InstrumentOptions) => {
  const stop = instrument(of, options)
  closing.push({ close: stop })
  return stop
}

async function watched(
  layers: readonly BlossomLayer[] = standard({ retry: { minDelayMs: 1 } }),
  options: InstrumentOptions = {},
  ofClient: Omit<BlossomOptions, 'layers'> = {},
) {
  const upstream = await startLocalBlossom()
  const blossom = createBlossom({ baseURL: upstream.url, ...ofClient }).use(...layers)
  closing.push(upstream, blossom)
  const stop = instrumented(blossom, options)
  return { upstream, blossom, stop }
}

describe('the spans of instrument()', () => {
  it('are one per call under the span of the caller, with a child per request', async () => {
    const { upstream, blossom } = await watched()
    upstream.fault({ status: 503 })
    const caller = trace.getTracer('test').startSpan('caller')
    const { usage } = await context.with(trace.setSpan(context.active(), caller), () =>
      blossom.text.generate('Hello', { model: 'mistral', tenant: 'gold' }),
    )
    caller.end()
    const spans = sdk.spans()
    const call = spanNamed(spans, 'chat mistral')
    expect(call.kind).toBe(SpanKind.CLIENT)
    expect(call.parentSpanContext?.spanId).toBe(caller.spanContext().spanId)
    expect(call.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'pollinations',
      'gen_ai.request.model': 'mistral',
      'gen_ai.request.stream': false,
      'gen_ai.response.model': 'mistral',
      'gen_ai.response.id': expect.stringMatching(/^chatcmpl-/),
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.usage.input_tokens': usage?.promptTokens,
      'gen_ai.usage.output_tokens': usage?.completionTokens,
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(upstream.url).port),
      'blossom.tenant': 'gold',
    })
    expect(call.attributes).not.toHaveProperty('gen_ai.system')
    expect(call.status.code).toBe(SpanStatusCode.UNSET)
    const attempts = childrenOf(spans, call)
    expect(attempts.map(({ name, kind }) => [name, kind])).toEqual([
      ['POST', SpanKind.CLIENT],
      ['POST', SpanKind.CLIENT],
    ])
    expect(attempts.map(({ attributes }) => attributes['http.request.resend_count'])).toEqual([
      undefined,
      1,
    ])
    expect(attempts[0]?.attributes).toMatchObject({
      'error.type': 'SERVER',
      'http.response.status_code': 503,
    })
    expect(attempts[0]?.status.code).toBe(SpanStatusCode.ERROR)
    expect(attempts[1]?.attributes['http.response.status_code']).toBe(200)
    expect(eventsOf(call)).toEqual(['blossom.retry'])
    expect(spans).toHaveLength(4)
  })

  it('are active where the work runs, while a reader of the answer keeps its own active span', async () => {
    const active: (string | undefined)[] = []
    const note = () => void active.push(trace.getActiveSpan()?.spanContext().spanId)
    const ask = stack(
      async function* count() {
        note()
        yield 1
        await new Promise((resolve) => setImmediate(resolve))
        note()
      },
      retry({ onRetry: note }),
    )
    instrumented(ask)
    for await (const _ of await ask(undefined as never)) note()
    const spans = sdk.spans()
    const attempt = spanNamed(spans, 'attempt')
    const inWork = attempt.spanContext().spanId
    expect(active[0]).toBe(inWork)
    expect(active[1]).toBeUndefined()
    expect(spanNamed(spans, 'count').attributes).toEqual({
      'blossom.stack': 'count',
      'gen_ai.response.time_to_first_chunk': expect.any(Number),
    })
  })

  it('last until the answer is complete, for a stream until its last chunk', async () => {
    const { blossom } = await watched()
    const stream = await blossom.text.stream('A story')
    expect(sdk.spans()).toEqual([])
    for await (const _ of stream);
    const [attempt, call] = sdk.spans()
    expect(call?.name).toBe('chat openai')
    expect(call?.attributes['gen_ai.response.time_to_first_chunk']).toBeGreaterThan(0)
    expect(call?.attributes['gen_ai.usage.output_tokens']).toBe(stream.usage?.completionTokens)
    const [seconds = 0, nanos = 0] = call?.duration ?? []
    const [ofAttempt = 0, nanosOfAttempt = 0] = attempt?.duration ?? []
    expect(seconds * 1e9 + nanos).toBeGreaterThanOrEqual(ofAttempt * 1e9 + nanosOfAttempt)
    // By the time of day.
    expect(Math.abs((call?.endTime[0] ?? 0) - Date.now() / 1_000)).toBeLessThan(10)
  })

  it('have no children for a cache hit, and name the span of a call that was joined', async () => {
    const { blossom } = await watched()
    const both = [blossom.text.generate('Hello'), blossom.text.generate('Hello')]
    await Promise.all(both)
    const calls = sdk.spans().filter(({ name }) => name === 'chat openai')
    const joined = calls.find((span) => eventsOf(span).includes('blossom.joined'))
    const other = calls.find((span) => span !== joined)
    expect(joined?.events.find(({ name }) => name === 'blossom.joined')?.attributes).toEqual({
      'blossom.layer': 'dedupe',
      'blossom.joined.trace_id': other?.spanContext().traceId,
      'blossom.joined.span_id': other?.spanContext().spanId,
    })
    expect(joined?.links.map(({ context: { spanId } }) => spanId)).toEqual([
      other?.spanContext().spanId,
    ])
    expect(joined?.attributes).not.toHaveProperty('gen_ai.usage.input_tokens')
    sdk.forget()
    await blossom.text.generate('Hello')
    const [hit, ...more] = sdk.spans()
    expect(more).toEqual([])
    expect(hit?.events[0]?.attributes).toMatchObject({ 'blossom.status': 'hit' })
    expect(hit?.attributes).not.toHaveProperty('gen_ai.usage.input_tokens')
  })

  it('of a nested stack are children of the attempt that calls it', async () => {
    const inner = stack(async (n: number) => n)
    const asking = async (n: number, inward: Context) => inner(n, inward as never)
    const outer = stack(base(asking, { name: 'outer' }))
    instrumented('all')
    await outer(1)
    const spans = sdk.spans()
    const [attempt] = childrenOf(spans, spanNamed(spans, 'outer'))
    expect(attempt?.name).toBe('attempt')
    expect(childrenOf(spans, attempt as never).map(({ name }) => name)).toEqual(['base'])
    expect(spans).toHaveLength(4)
  })

  it('record waits, limits, hedges and fallbacks as events', async () => {
    const first = gate<string>()
    const answers = [() => first.promise, async () => 'two']
    let calls = 0
    const waits = stack(async () => answers[calls++ % 2]?.(), queue({ concurrency: 1 }))
    const limits = stack(async () => 1, rateLimit({ requests: 6, by: 'all', mode: 'reject' }))
    const falls = stack(
      scripted<string, string>([upstreamError('SERVER')]),
      fallback({ to: [(() => 'instead') as never] }),
    )
    const late = stack(() => new Promise<never>(() => {}), timeout({ ms: 1 }))
    for (const one of [waits, limits, falls, late]) instrumented(one as never)
    const both = [waits(1 as never), waits(2 as never)]
    first.open('one')
    await Promise.all(both)
    await limits(1 as never)
    await failure(limits(2 as never))
    await falls('x')
    await failure(late(1 as never))
    const all = sdk.spans().flatMap(({ events }) => events)
    const named = (name: string) => all.filter((event) => event.name === name)
    expect(named('blossom.queued')).toMatchObject([{ attributes: { 'blossom.layer': 'queue' } }])
    expect(named('blossom.fallback')).toMatchObject([
      { attributes: { 'blossom.candidate': 1, 'blossom.code': 'SERVER' } },
    ])
    expect(named('blossom.limited').map(({ attributes }) => attributes)).toMatchObject([
      { 'blossom.layer': 'rateLimit', 'blossom.code': 'RATE_LIMITED' },
      { 'blossom.layer': 'timeout', 'blossom.phase': 'total', 'blossom.limit_ms': 1 },
    ])
  })

  it('record which of two tries has won', async () => {
    const slow = gate<string>()
    const other = stack(async (_: string) => 'fast')
    const ask = stack(
      base(async (_: string) => slow.promise, { name: 'slow' }),
      hedge({ delayMs: 1, minDelayMs: 1, to: [other] as never }),
    )
    instrumented(ask)
    expect(await ask('x')).toBe('fast')
    slow.open('late')
    const call = spanNamed(sdk.spans(), 'slow')
    expect(eventsOf(call)).toContain('blossom.hedged')
  })

  it('of abandoned or aborted calls are not marked as errors', async () => {
    const { upstream, blossom } = await watched()
    // Otherwise everything may have arrived when the reader leaves.
    upstream.fault({ stallAfterChunks: 1 })
    for await (const _ of await blossom.text.stream('A story')) break
    const caller = new AbortController()
    const aborted = failure(blossom.text.generate('Never', { signal: caller.signal }))
    caller.abort()
    await aborted
    const calls = sdk.spans().filter(({ name }) => name === 'chat openai')
    expect(calls.map(({ attributes }) => attributes['blossom.outcome'])).toEqual([
      'left',
      'aborted',
    ])
    expect(calls.every(({ status }) => status.code === SpanStatusCode.UNSET)).toBe(true)
  })

  it('use the names of the requested conventions', async () => {
    const names: Record<string, string[]> = {}
    for (const semconv of ['current', 'previous', 'both'] as const) {
      sdk.forget()
      const { blossom, stop } = await watched([], { semconv })
      await blossom.text.generate('Hello')
      stop()
      const { attributes } = spanNamed(sdk.spans(), 'chat openai')
      names[semconv] = Object.keys(attributes).filter((name) => /system|provider/.test(name))
    }
    expect(names).toEqual({
      current: ['gen_ai.provider.name'],
      previous: ['gen_ai.system'],
      both: ['gen_ai.provider.name', 'gen_ai.system'],
    })
  })

  it('cover only that client when one is given, or else all clients, including later ones', async () => {
    const { blossom, stop } = await watched([])
    await stack(async () => 1)(1 as never)
    expect(sdk.spans()).toEqual([])
    stop()
    await blossom.text.generate('Hello')
    expect(sdk.spans()).toEqual([])
    instrumented('all')
    await stack(base(async () => 1, { name: 'later' }))(1 as never)
    await blossom.text.generate('Hello')
    expect(sdk.spans().map(({ name }) => name)).toEqual(['attempt', 'later', 'POST', 'chat openai'])
  })

  it('in progress are ended when instrument() is stopped', async () => {
    const work = gate<number>()
    const ask = stack(base(() => work.promise, { name: 'slow' }))
    const stop = instrumented(ask)
    const call = ask(1 as never)
    stop()
    work.open(1)
    await call
    expect(sdk.spans().map(({ name }) => name)).toEqual(['attempt', 'slow'])
  })
})

describe('the metrics of instrument()', () => {
  it('follow both conventions and count usage once', async () => {
    const { upstream, blossom } = await watched()
    const [{ usage }] = await Promise.all([
      blossom.text.generate('Hello'),
      blossom.text.generate('Hello'),
    ])
    await blossom.text.generate('Hello')
    const stream = await blossom.text.stream('A story')
    for await (const _ of stream);
    upstream.fault({ status: 400 })
    await failure(blossom.text.generate('Wrong'))
    const measured = await sdk.measured()
    const of = (name: string, attributes: object = {}) =>
      measured.filter(
        (one) =>
          one.name === name &&
          Object.entries(attributes).every(([key, value]) => one.attributes[key] === value),
      )
    const sum = (all: typeof measured, field: 'value' | 'count' | 'sum') =>
      all.reduce((total, one) => total + (one[field] ?? 0), 0)
    const input = (usage?.promptTokens ?? 0) + (stream.usage?.promptTokens ?? 0)
    const output = (usage?.completionTokens ?? 0) + (stream.usage?.completionTokens ?? 0)
    const inference = 'gen_ai.client.inference'
    expect(sum(of(`${inference}.usage.input_tokens`), 'value')).toBe(input)
    expect(sum(of(`${inference}.usage.output_tokens`), 'value')).toBe(output)
    const usageOf = (type: string) =>
      sum(of('gen_ai.client.token.usage', { 'gen_ai.token.type': type }), 'sum')
    expect([usageOf('input'), usageOf('output')]).toEqual([input, output])
    for (const name of ['gen_ai.client.operation.duration', `${inference}.duration`]) {
      expect(sum(of(name), 'count')).toBe(5)
      expect(of(name, { 'error.type': 'BAD_REQUEST' })).toMatchObject([{ count: 1, unit: 's' }])
    }
    expect(sum(of(`${inference}.time_to_first_chunk`), 'count')).toBe(1)
    expect(sum(of(`${inference}.time_per_output_chunk`), 'count')).toBeGreaterThan(1)
    expect(of(`${inference}.duration`)[0]?.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'pollinations',
      'gen_ai.request.model': 'openai',
    })
  })

  it('count the tokens of work whose first caller has gone while nobody was asked', async () => {
    const left = gate()
    let attempts = 0
    const flaky = async (_: string) => {
      if (++attempts === 1) throw upstreamError('SERVER')
      return 'well'
    }
    const ask = stack(
      base(flaky, { operation: () => 'chat', usage: () => ({ input: 10, output: 1 }) }),
      dedupe(),
      retry({ minDelayMs: 50, random: () => 1, onRetry: () => left.open() }),
    )
    instrumented(ask)
    const caller = new AbortController()
    const first = failure(ask('x', { signal: caller.signal }))
    const other = ask('x')
    await left.promise
    caller.abort()
    await first
    expect(await other).toBe('well')
    const input = (await sdk.measured()).filter(({ name }) => name.endsWith('.input_tokens'))
    expect(input.map(({ value }) => value)).toEqual([10])
  })

  it('follow a single convention on request', async () => {
    const namesOf = async (semconv: 'current' | 'previous') => {
      const { blossom, stop } = await watched([], { semconv })
      const stream = await blossom.text.stream('A story')
      for await (const _ of stream);
      stop()
      const names = new Set((await sdk.measured()).map(({ name }) => name))
      await sdk.stop()
      sdk = startSdk()
      return [...names].sort()
    }
    expect(await namesOf('previous')).toEqual([
      'gen_ai.client.operation.duration',
      'gen_ai.client.token.usage',
    ])
    expect(await namesOf('current')).toEqual([
      'gen_ai.client.inference.duration',
      'gen_ai.client.inference.time_per_output_chunk',
      'gen_ai.client.inference.time_to_first_chunk',
      'gen_ai.client.inference.usage.input_tokens',
      'gen_ai.client.inference.usage.output_tokens',
    ])
  })

  it('name 50 models, and are none of functions that are no models', async () => {
    const ask = stack(
      base(async (_: string) => 1, { operation: () => 'chat', model: (model) => model }),
    )
    const plain = stack(async () => 1)
    instrumented(ask)
    instrumented(plain)
    for (let n = 0; n < 60; n++) await ask(`m${n}`)
    await plain(1 as never)
    const durations = (await sdk.measured()).filter(({ name }) => name.endsWith('.duration'))
    const models = new Set(
      durations.map(({ attributes }) => attributes['gen_ai.request.model'] as string),
    )
    expect(models.size).toBe(51)
    expect(models).toContain('other')
  })
})

describe('propagate and the log', () => {
  it('send the trace of the attempt upstream only when asked to', async () => {
    for (const propagate of [false, true]) {
      sdk.forget()
      const { upstream, blossom, stop } = await watched([], { propagate })
      await blossom.text.generate('Hello')
      stop()
      const attempt = spanNamed(sdk.spans(), 'POST').spanContext()
      const sent = upstream.requests[0]?.headers as Record<string, unknown>
      expect(sent.traceparent).toBe(
        propagate ? `00-${attempt.traceId}-${attempt.spanId}-01` : undefined,
      )
      expect(Object.keys(sent)).not.toContain('tracestate')
      expect(Object.keys(sent)).not.toContain('baggage')
    }
  })

  it('add the trace id to the request log of the gateway', async () => {
    const { blossom } = await watched()
    const entries: RequestLog[] = []
    const gateway = createGateway(blossom, { log: (entry) => void entries.push(entry) })
    const ask = () =>
      gateway(
        new Request('http://localhost/v1/chat/completions', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"messages":[{"role":"user","content":"Hi"}]}',
        }),
      )
    await (await ask()).text()
    const { traceId } = spanNamed(sdk.spans(), 'chat openai').spanContext()
    expect(entries[0]?.traceId).toBe(traceId)
  })

  it('leave no note where there is no SDK', async () => {
    await sdk.stop()
    const ask = stack(async () => 1)
    instrumented(ask)
    const meta = new Map<string, unknown>()
    expect(await ask(1 as never, { meta })).toBe(1)
    expect(meta.has('telemetry')).toBe(false)
  })
})

describe('instrument', () => {
  it('takes a tracer and a meter of your own', async () => {
    const { tracers, meters } = sdk
    const options = { tracer: tracers.getTracer('mine'), meter: meters.getMeter('mine') }
    const { blossom } = await watched([], options)
    await blossom.text.generate('Hello')
    const scopes = sdk.spans().map(({ instrumentationScope }) => instrumentationScope.name)
    expect(new Set(scopes)).toEqual(new Set(['mine']))
  })

  it('fails no call, whatever a tracer does', async () => {
    const said = catchWarnings()
    const refuse = () => {
      throw new RangeError('secret')
    }
    const broken = new Proxy({}, { get: () => refuse })
    const tracer = { startSpan: () => broken }
    const { blossom } = await watched([dedupe()], { tracer, propagate: true, captureContent: true })
    // It can be taken off all the same.
    const manager = { with: refuse, active: refuse, bind: refuse, enable: refuse, disable() {} }
    context.disable()
    context.setGlobalContextManager(manager as never)
    expect((await blossom.text.generate('Hello')).text).toContain('Hello')
    for await (const _ of await blossom.text.stream('Hello'));
    expect(said.length).toBeGreaterThan(0)
    expect(said.join()).not.toContain('secret')
  })

  it('rejects wrong options and anything it cannot watch', () => {
    const ask = stack(async () => 1)
    for (const odd of [undefined, null, {}, async () => 1, 'some'])
      expect(() => instrument(odd as never)).toThrow(ConfigError)
    for (const options of [
      { tracer: {} },
      { meter: 5 },
      { semconv: 'next' },
      { captureContent: 'yes' },
      { propagate: 1 },
      { nonsense: true },
    ])
      expect(() => instrument(ask, options as never)).toThrow(/^instrument: /)
  })
})
