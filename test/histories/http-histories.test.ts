import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../src/client/index.js'
import { isStackError, stack } from '../../src/core/index.js'
import type { Fault, LocalBlossom, LocalBlossomRequest } from '../../src/testing/index.js'
import { startLocalBlossom } from '../../src/testing/index.js'
import { makeLayer } from '../support/history-layers.js'
import { type LayerPlan, mostInFlight, widthOf } from '../support/history-plans.js'
import { REASON } from '../support/history-run.js'
import { catchWarnings } from '../support/warnings.js'
import { GRAIN_MS } from './judging.js'
import { layers } from './plans.js'

const PROMPTS = ['shared a', 'shared b', ...Array.from({ length: 12 }, (_, i) => `own ${i}`)]
const KEY = 'sk_histories'

let upstream: LocalBlossom
/** The whole answer to each prompt. */
let answers: Map<string, string>

beforeEach(async () => {
  catchWarnings()
  upstream = await startLocalBlossom({ coalesce: false, latencyMs: 1, wordsPerChunk: 3 })
  const plain = createBlossom({ baseURL: upstream.url, apiKey: KEY })
  answers = new Map()
  for (const prompt of PROMPTS) answers.set(prompt, (await plain.text.generate(prompt)).text)
  await plain.close()
})

afterEach(async () => {
  await upstream.close()
  vi.restoreAllMocks()
})

interface Call {
  readonly atMs: number
  readonly prompt: string
  readonly stream: boolean
  readonly priority: number
  readonly timeoutMs: number
  readonly abortAfterMs: number | undefined
  /** Pieces to read before leaving. */
  readonly take: number
}

const between = (min: number, max: number) => fc.integer({ min, max })

const call: fc.Arbitrary<Call> = fc.record({
  atMs: between(0, 60),
  prompt: fc.constantFrom(...PROMPTS, 'shared a', 'shared b', 'shared a'),
  stream: fc.boolean(),
  priority: between(-1, 1),
  timeoutMs: between(20, 250),
  abortAfterMs: fc.option(between(0, 40), { nil: undefined, freq: 3 }),
  take: fc.oneof(
    { weight: 4, arbitrary: fc.constant(Number.POSITIVE_INFINITY) },
    { weight: 1, arbitrary: between(0, 3) },
  ),
})

const after = between(0, 3)
const fault: fc.Arbitrary<Fault> = fc.oneof(
  fc.constantFrom<Fault>(
    { status: 503 },
    { status: 500 },
    { status: 429, retryAfterMs: 5 },
    { status: 400 },
    { status: 521 },
  ),
  fc.constantFrom<Fault>(
    { json: 'malformed' },
    { json: 'truncated' },
    { json: 'html' },
    { json: 'empty' },
    { json: 'shape' },
  ),
  fc.constantFrom<Fault>(
    { resetBeforeHeaders: true },
    { hang: true },
    { raw: 'not HTTP\r\n\r\n' },
    { noDone: true },
    { oneChunk: true },
  ),
  fc.constantFrom<Fault>(
    { openAfterDone: true, ghostChunks: 2 },
    { delayMs: 30 },
    { splitBytes: 7 },
    { chunkDelayMs: 5 },
  ),
  after.map((n) => ({ cutAfterChunks: n, cutWith: n % 2 === 0 ? 'rst' : 'fin' }) as const),
  after.map((n) => ({ endAfterChunks: n })),
  after.map((n) => ({ stallAfterChunks: n, heartbeatMs: 5 })),
  after.map((n) => ({ errorAfterChunks: n })),
  after.map((n) => ({ garbageAfterChunks: n })),
)

interface Outcome {
  readonly call: Call
  text: string
  ended: 'whole' | 'left' | 'failed' | undefined
  error: unknown
  readonly began: number
  settled: number
}

/** What these do depends on milliseconds, which a busy machine does not keep. */
const BY_THE_CLOCK: ReadonlySet<string> = new Set(['rateLimit', 'fallback', 'hedge'])

/**
 * The same layers with the client inside. Their time limits are too wide to cut anything on a busy
 * machine; the callers' own do enough of that.
 */
const widened = (plans: readonly LayerPlan[]): LayerPlan[] =>
  plans.flatMap((plan): LayerPlan[] => {
    const { kind, options } = plan
    if (kind === 'batcher' || BY_THE_CLOCK.has(kind)) return []
    if (kind === 'timeout')
      return [{ kind, options: { ms: 2_000, streamMs: 2_000, firstTokenMs: 2_000, idleMs: 2_000 } }]
    if (kind === 'breaker') {
      const { failureRate, minimumCalls } = options
      return [
        { kind, options: { failureRate, minimumCalls, windowMs: 50, resetMs: 20, trials: 1 } },
      ]
    }
    // What adapts is smaller at the last step than it may be.
    if (kind === 'queue')
      return [{ kind, options: { concurrency: widthOf(plan), maxWaiting: options.maxWaiting } }]
    if (kind === 'pool')
      return [
        { kind, options: { connections: options.connections, maxWaiting: options.maxWaiting } },
      ]
    return [plan]
  })

/** After that long no breaker remembers the storm. */
const FORGOTTEN_MS = 2 * 20 + 50

async function play(blossom: ReturnType<typeof createBlossom>, call: Call): Promise<Outcome> {
  await new Promise((resolve) => setTimeout(resolve, call.atMs))
  const caller = new AbortController()
  const timer =
    call.abortAfterMs === undefined
      ? undefined
      : setTimeout(() => caller.abort(REASON), call.abortAfterMs)
  const outcome: Outcome = {
    call,
    text: '',
    ended: undefined,
    error: undefined,
    began: performance.now(),
    settled: 0,
  }
  const { prompt, priority, timeoutMs } = call
  const options = { priority, timeoutMs, signal: caller.signal }
  try {
    if (call.stream) {
      const stream = await blossom.text.stream(prompt, options)
      let pieces = 0
      if (call.take === 0) await stream.return(undefined)
      else {
        for await (const { text } of stream) {
          outcome.text += text
          if (++pieces === call.take) break
        }
      }
      outcome.ended = pieces === call.take ? 'left' : 'whole'
    } else {
      outcome.text = (await blossom.text.generate(prompt, options)).text
      outcome.ended = 'whole'
    }
  } catch (error) {
    outcome.ended = 'failed'
    outcome.error = error
  }
  clearTimeout(timer)
  outcome.settled = performance.now()
  return outcome
}

/** Requests that upstream ended itself, and so at a moment that both sides agree on. */
const isAgreed = ({ outcome, fault, endedAt }: LocalBlossomRequest) =>
  endedAt !== undefined &&
  (outcome === 'complete' || (outcome === 'fault' && fault?.status !== undefined))

function mostAtOnce(requests: readonly LocalBlossomRequest[]): number {
  const agreed = requests.filter(isAgreed)
  return Math.max(
    0,
    ...agreed.map(
      ({ at }) =>
        agreed.filter((other) => other.at <= at && (other.endedAt ?? 0) > at + GRAIN_MS).length,
    ),
  )
}

function wrongs(outcomes: readonly Outcome[], plans: readonly LayerPlan[]): string[] {
  const attempts = plans.reduce(
    (product, { kind, options }) => product * (kind === 'retry' ? options.retries + 1 : 1),
    1,
  )
  const asked = (prompt: string) =>
    upstream.requests.filter(({ rawBody }) => rawBody.includes(`"${prompt}"`)).length
  return [
    ...outcomes.flatMap(({ call, text, ended, error, began, settled }) => {
      const whole = answers.get(call.prompt) as string
      const what = JSON.stringify(call)
      if (!whole.startsWith(text)) return [`${what} was given "${text}"`]
      if (ended === 'whole' && text !== whole) return [`${what} ended early with "${text}"`]
      // Far more than the grain of the clock: the machine may be busy.
      if (settled - began > call.timeoutMs + 2_000) return [`${what} took ${settled - began} ms`]
      if (ended !== 'failed') return []
      if (error === REASON)
        return call.abortAfterMs === undefined ? [`${what} gave an abort that nobody made`] : []
      return isStackError(error) && error.code !== 'CLOSED' ? [] : [`${what} gave ${String(error)}`]
    }),
    ...PROMPTS.filter((prompt) => prompt.startsWith('own')).flatMap((prompt) => {
      const calls = outcomes.filter(({ call }) => call.prompt === prompt).length
      return asked(prompt) > calls * attempts
        ? [`${asked(prompt)} requests for ${calls} calls of ${prompt}`]
        : []
    }),
    ...(mostAtOnce(upstream.requests) > mostInFlight(plans)
      ? [`${mostAtOnce(upstream.requests)} requests at once`]
      : []),
  ]
}

/**
 * Resolves with the first good answer: a breaker may still be open. Rejects with the last failure.
 */
async function recovered(blossom: ReturnType<typeof createBlossom>): Promise<void> {
  const until = performance.now() + 10_000
  for (let i = 0; ; i++) {
    try {
      await blossom.text.generate(`recovered ${i}`, { timeoutMs: 5_000 })
      return
    } catch (error) {
      if (performance.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/**
 * Makes more calls at once than fit, each slow enough to be seen beside the others. Gives how many
 * were.
 */
async function fill(
  blossom: ReturnType<typeof createBlossom>,
  plans: readonly LayerPlan[],
): Promise<number> {
  const limit = Math.min(...plans.map(widthOf))
  upstream.reset()
  upstream.fault({ delayMs: 60, times: limit + 2 })
  const calls = Array.from({ length: limit + 2 }, (_, i) => blossom.text.generate(`full ${i}`))
  await Promise.allSettled(calls)
  return upstream.maxActive
}

/** For layers that are not among these. */
const NOWHERE: Parameters<typeof makeLayer>[4] = {
  stack: stack(async (_: unknown) => undefined as unknown),
  give: () => undefined,
  fail: () => {
    throw new Error('Nobody is asked.')
  },
}

describe('client', () => {
  it('keeps its promises in random storms over real sockets', async () => {
    await fc.assert(
      fc.asyncProperty(
        layers.map(widened),
        fc.array(call, { minLength: 4, maxLength: 24, size: 'max' }),
        fc.array(fault, { maxLength: 20, size: 'max' }),
        async (plans, calls, faults) => {
          upstream.reset()
          upstream.faults.push(...faults)
          const names = new Map<string, number>()
          const made = plans.map((plan) => {
            const nth = (names.get(plan.kind) ?? 0) + 1
            names.set(plan.kind, nth)
            return makeLayer(
              plan,
              nth === 1 ? plan.kind : `${plan.kind}${nth}`,
              { states: [], retries: [] },
              () => 0.5,
              NOWHERE,
            ).layer
          })
          const blossom = createBlossom({ baseURL: upstream.url, apiKey: KEY }).use(
            ...(made as never as []),
          ) as ReturnType<typeof createBlossom>
          const outcomes = await Promise.all(calls.map((one) => play(blossom, one)))
          expect(wrongs(outcomes, plans)).toEqual([])
          // Nothing of it goes on upstream.
          await upstream.waitFor(({ active }) => active === 0, 5_000)
          upstream.reset()
          await new Promise((resolve) => setTimeout(resolve, FORGOTTEN_MS))
          await recovered(blossom)
          const limit = Math.min(...plans.map(widthOf))
          if (Number.isFinite(limit)) expect(await fill(blossom, plans)).toBe(limit)
          await blossom.close()
          for (const stats of Object.values(
            blossom.stats() as Record<string, Record<string, number>>,
          )) {
            const { running = 0, waiting = 0, active = 0, inFlight = 0 } = stats
            expect({ running, waiting, active, inFlight }).toEqual({
              running: 0,
              waiting: 0,
              active: 0,
              inFlight: 0,
            })
          }
        },
      ),
      { numRuns: 8 },
    )
  }, 120_000)
})
