import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { Registry } from 'prom-client'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type BlossomLayer,
  type BlossomOptions,
  base,
  ConfigError,
  cache,
  createBlossom,
  dedupe,
  fallback,
  pool,
  queue,
  rateLimit,
  retry,
  stack,
  standard,
} from '../../../src/index.js'
import { type PrometheusOptions, prometheus } from '../../../src/telemetry/index.js'
import { scripted, startLocalBlossom } from '../../../src/testing/index.js'
import { gate } from '../../support/gate.js'
import { keyOf, parsePrometheus, sumOf } from '../../support/prometheus-text.js'
import { KEY, PROMPT } from '../../support/secrets.js'
import { upstreamError } from '../../support/upstream.js'
import { failure } from '../../support/watch.js'

const closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const thing of closing.splice(0).reverse()) await thing.close()
})

async function metered(
  layers: readonly BlossomLayer[] = standard({ retry: { minDelayMs: 1 } }),
  options: Omit<BlossomOptions, 'layers'> = {},
  ofMetrics: PrometheusOptions = {},
) {
  const upstream = await startLocalBlossom()
  const blossom = createBlossom({ baseURL: upstream.url, ...options }).use(...layers)
  closing.push(upstream, blossom)
  const metrics = prometheus(blossom, ofMetrics)
  const value = (name: string, labels?: Record<string, string>) =>
    sumOf(parsePrometheus(metrics.text()), name, labels)
  return { upstream, blossom, metrics, value }
}

/** The contract: every name that dashboards and alerts may use. */
const NAMES = [
  'blossom_calls_total',
  'blossom_call_duration_seconds',
  'blossom_first_token_seconds',
  'blossom_attempts_total',
  'blossom_retries_total',
  'blossom_tokens_total',
  'blossom_cost_total',
  'blossom_cache_total',
  'blossom_joined_total',
  'blossom_hedges_total',
  'blossom_fallbacks_total',
  'blossom_shared_local_total',
  'blossom_queue_running',
  'blossom_queue_waiting',
  'blossom_queue_concurrency',
  'blossom_breaker_state',
  'blossom_pool_active',
  'blossom_pool_waiting',
  'blossom_limit_admitted_total',
  'blossom_limit_rejected_total',
]

describe('prometheus', () => {
  it('exposes HELP and TYPE of every family before the first call', () => {
    const metrics = prometheus(createBlossom())
    expect(parsePrometheus(metrics.text()).map(({ name }) => name)).toEqual(NAMES)
    expect(metrics.contentType).toBe('text/plain; version=0.0.4; charset=utf-8')
  })

  it('counts calls by operation, model and outcome, with their durations', async () => {
    const { upstream, blossom, value } = await metered()
    await blossom.text.generate('Hello')
    for await (const _ of await blossom.text.stream('A story', { model: 'mistral' }));
    // Otherwise everything may have arrived when the reader leaves.
    upstream.fault({ stallAfterChunks: 1 })
    for await (const _ of await blossom.text.stream('Another', { model: 'mistral' })) break
    await blossom.embeddings.create(['Hello'])
    upstream.fault({ status: 400 })
    await failure(blossom.text.generate('Wrong'))
    await failure(blossom.text.generate('Late', { signal: AbortSignal.abort() }))
    const chat = { operation: 'chat', model: 'openai' }
    expect(value('blossom_calls_total', { ...chat, outcome: 'complete', code: '' })).toBe(1)
    expect(value('blossom_calls_total', { ...chat, outcome: 'failed', code: 'BAD_REQUEST' })).toBe(
      1,
    )
    expect(value('blossom_calls_total', { model: 'mistral', outcome: 'complete' })).toBe(1)
    expect(value('blossom_calls_total', { model: 'mistral', outcome: 'left' })).toBe(1)
    expect(value('blossom_calls_total', { operation: 'embeddings' })).toBe(1)
    expect(value('blossom_call_duration_seconds_count')).toBe(value('blossom_calls_total'))
    expect(value('blossom_call_duration_seconds_sum')).toBeGreaterThan(0)
    expect(value('blossom_first_token_seconds_count')).toBe(2)
    expect(value('blossom_attempts_total')).toBe(5)
  })

  it('counts each token that upstream reports once', async () => {
    const price = (_: string, { input, output }: { input: number; output: number }) =>
      (input + output) / 1024
    const { blossom, value } = await metered(undefined, { price })
    const answers = await Promise.all([
      blossom.text.generate('Hello'),
      blossom.text.generate('Hello'),
      blossom.text.generate('Hello'),
    ])
    await blossom.text.generate('Hello')
    const { promptTokens = 0, completionTokens = 0 } = answers[0].usage ?? {}
    expect(value('blossom_tokens_total', { direction: 'input' })).toBe(promptTokens)
    expect(value('blossom_tokens_total', { direction: 'output' })).toBe(completionTokens)
    expect(value('blossom_cost_total')).toBe((promptTokens + completionTokens) / 1024)
    expect(value('blossom_calls_total')).toBe(4)
    expect(value('blossom_joined_total')).toBe(2)
    expect(value('blossom_cache_total', { status: 'hit' })).toBe(1)
    expect(value('blossom_cache_total', { status: 'miss' })).toBe(3)
  })

  it('counts retries, fallbacks and what layers hold', async () => {
    const { upstream, blossom, value } = await metered(
      standard({
        retry: { minDelayMs: 1, retries: 1 },
        fallback: { to: ['mistral'] },
        rateLimit: { requests: 6, mode: 'reject', by: 'all' },
        queue: { concurrency: 7 },
      }),
    )
    upstream.fault({ status: 503, times: 2 })
    await blossom.text.generate('Hello')
    expect((await failure(blossom.text.generate('Hello again'))) as object).toMatchObject({
      code: 'RATE_LIMITED',
    })
    expect(value('blossom_retries_total', { code: 'SERVER' })).toBe(1)
    expect(value('blossom_fallbacks_total', { candidate: '1' })).toBe(1)
    expect(value('blossom_attempts_total', { outcome: 'failed', code: 'SERVER' })).toBe(2)
    expect(value('blossom_attempts_total', { model: 'mistral', outcome: 'complete' })).toBe(1)
    expect(value('blossom_queue_concurrency', { layer: 'queue' })).toBe(7)
    expect(value('blossom_limit_admitted_total', { layer: 'rateLimit' })).toBe(1)
    expect(value('blossom_limit_rejected_total', { layer: 'rateLimit' })).toBe(1)
    expect(value('blossom_breaker_state', { state: 'closed' })).toBe(1)
    expect(value('blossom_breaker_state')).toBe(1)
  })

  it('shows running and waiting calls', async () => {
    const first = gate<string>()
    const ask = stack(() => first.promise, queue({ concurrency: 1 }), pool({ connections: 1 }))
    const metrics = prometheus(ask)
    const value = (name: string) => sumOf(parsePrometheus(metrics.text()), name)
    const calls = [ask(1 as never), ask(2 as never)]
    expect(value('blossom_queue_running')).toBe(1)
    expect(value('blossom_queue_waiting')).toBe(1)
    expect(value('blossom_pool_active')).toBe(1)
    first.open('well')
    await Promise.all(calls)
    expect(value('blossom_queue_running')).toBe(0)
    // A function without an operation makes calls.
    expect(
      sumOf(parsePrometheus(metrics.text()), 'blossom_calls_total', { operation: 'call' }),
    ).toBe(2)
  })

  it('counts a call and its tokens once, however deeply stacks are nested', async () => {
    const usage = () => ({ input: 10, output: 1 })
    const inner = stack(
      base(async (n: number) => n, { usage }),
      retry(),
    )
    const middle = stack(inner, retry())
    const outer = stack(middle, dedupe())
    const metrics = prometheus(outer)
    await outer(1)
    const families = parsePrometheus(metrics.text())
    expect(sumOf(families, 'blossom_calls_total')).toBe(1)
    expect(sumOf(families, 'blossom_attempts_total')).toBe(1)
    expect(sumOf(families, 'blossom_tokens_total', { direction: 'input' })).toBe(10)
  })

  it('counts the tokens of another client that answers in place of this one', async () => {
    const other = stack(base(async (n: number) => n, { usage: () => ({ input: 10, output: 1 }) }))
    const ask = stack(
      scripted<number, number>([upstreamError('SERVER')]),
      fallback({ to: [other] as never }),
    )
    const metrics = prometheus(ask)
    await ask(1)
    const families = parsePrometheus(metrics.text())
    expect(sumOf(families, 'blossom_calls_total')).toBe(1)
    expect(sumOf(families, 'blossom_attempts_total')).toBe(2)
    expect(sumOf(families, 'blossom_tokens_total', { direction: 'input' })).toBe(10)
  })

  it('gives the first 50 models and 100 tenants a series each, and all others a shared one', async () => {
    const ask = stack(
      base(async (_: { model: string }) => 'well', {
        model: ({ model }) => model,
        usage: () => ({ input: 1, output: 1 }),
      }),
    )
    const metrics = prometheus(ask, { labels: { tenant: true } })
    for (let n = 0; n < 200; n++) await ask({ model: `m${n}` }, { tenant: `t${n}` })
    await ask({ model: 'm0' }, { tenant: 't0' })
    const families = parsePrometheus(metrics.text())
    const values = (label: string) =>
      new Set(
        families.flatMap(({ samples }) => samples.flatMap(({ labels }) => labels[label] ?? [])),
      )
    expect(values('model').size).toBe(51)
    expect(values('tenant').size).toBe(101)
    expect(sumOf(families, 'blossom_calls_total', { model: 'm0', tenant: 't0' })).toBe(2)
    expect(sumOf(families, 'blossom_calls_total', { model: 'other' })).toBe(150)
    expect(sumOf(families, 'blossom_calls_total')).toBe(201)
  })

  it('passes the strict parser whatever the names of models, tenants and constants', async () => {
    const anything = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 })
    const nasty = fc.constantFrom('"', '\\', '\n', '\r\n', 'a"b\\n', '\ud800', '\udc00', '{}', ',')
    const name = fc.oneof(anything, nasty)
    await fc.assert(
      fc.asyncProperty(fc.array(name, { maxLength: 8 }), name, async (models, constant) => {
        const ask = stack(
          base(async (model: string) => model, {
            model: (model) => model,
            usage: () => ({ input: 1, output: 1 }),
          }),
        )
        const metrics = prometheus(ask, { labels: { tenant: true, service: constant } })
        for (const model of models) await ask(model, { tenant: model })
        // As it goes over the wire.
        const text = Buffer.from(metrics.text(), 'utf8').toString('utf8')
        const families = parsePrometheus(text)
        const wellFormed = (given: string) => Buffer.from(given, 'utf8').toString('utf8')
        for (const model of models)
          expect(
            sumOf(families, 'blossom_calls_total', {
              model: wellFormed(model),
              tenant: wellFormed(model),
              service: wellFormed(constant),
            }),
          ).toBe(models.filter((other) => wellFormed(other) === wellFormed(model)).length)
        metrics.stop()
      }),
      { numRuns: 60 },
    )
  })

  it('holds no key, no prompt and no answer', async () => {
    const { upstream, blossom, metrics } = await metered(undefined, { apiKey: KEY })
    await blossom.text.generate(PROMPT)
    await blossom.image.generate(PROMPT)
    upstream.fault({ status: 400 })
    await failure(blossom.text.generate(`${PROMPT}?`))
    expect(metrics.text()).not.toContain(KEY)
    expect(metrics.text()).not.toContain(PROMPT.split(' ')[0])
  })

  it('counts from its creation until it is stopped', async () => {
    const ask = stack(async (n: number) => n, cache())
    await ask(1)
    const metrics = prometheus(ask)
    const calls = () => sumOf(parsePrometheus(metrics.text()), 'blossom_calls_total')
    await ask(2)
    expect(calls()).toBe(1)
    metrics.stop()
    await ask(3)
    expect(calls()).toBe(1)
  })

  it('rejects anything it cannot watch, and labels that Prometheus would reject', () => {
    for (const odd of [undefined, null, {}, async () => 1, 'all'])
      expect(() => prometheus(odd as never)).toThrow(ConfigError)
    const ask = stack(async () => 1)
    for (const labels of [
      { 'a-b': 'c' },
      { __a: 'b' },
      { a: 5 },
      { a: true },
      { tenant: 'gold' },
      'service=garden',
      ['a'],
    ])
      expect(() => prometheus(ask, { labels: labels as never })).toThrow(
        /^prometheus: option "labels" must be /,
      )
    for (const name of ['model', 'le', 'code'])
      expect(() => prometheus(ask, { labels: { [name]: 'x' } })).toThrow(
        `prometheus: the label "${name}" is reserved. Choose another name.`,
      )
    expect(() => prometheus(ask, { nonsense: true } as never)).toThrow(ConfigError)
  })

  it('joins a registry of prom-client with the same samples', async () => {
    const { blossom, metrics } = await metered([rateLimit({ requests: 60 }), ...standard()])
    await blossom.text.generate('Hello')
    for await (const _ of await blossom.text.stream('A story'));
    const registry = new Registry()
    metrics.register(registry)
    const flat = (text: string) =>
      parsePrometheus(text)
        .flatMap(({ samples }) => samples)
        .map(({ name, labels, value }) => `${name} ${keyOf(labels)} ${value}`)
        .sort()
    // It separates families by an empty line, and may print one without samples.
    const theirs = (await registry.metrics()).replace(/\n\n+/g, '\n')
    expect(flat(theirs)).toEqual(flat(metrics.text()))
    expect(parsePrometheus(theirs).map(({ type }) => type)).toEqual(
      parsePrometheus(metrics.text()).map(({ type }) => type),
    )
  })

  const hasPromtool = spawnSync('promtool', ['--version']).status === 0
  it.skipIf(!hasPromtool)('passes promtool', async () => {
    const { blossom, metrics } = await metered([rateLimit({ requests: 60 }), ...standard()], {
      price: () => 0.001,
    })
    await blossom.text.generate('Hello')
    for await (const _ of await blossom.text.stream('A story'));
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: metrics.text(),
      encoding: 'utf8',
    })
    expect([status, stdout, stderr]).toEqual([0, '', ''])
  })
})
