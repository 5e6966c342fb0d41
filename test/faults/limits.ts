import { expect, vi } from 'vitest'
import type { RateLimitNote } from '../../src/core.js'
import type { RateLimitOptions } from '../../src/index.js'
import { BEGUN, begun, goodBut, hangUp, json, stream } from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import { goodCompletion } from '../support/good-answers.js'
import { answer } from '../support/wire.js'
import { waitedFor } from './clock.js'
import type { Group, Row } from './row.js'
import type { Scene } from './scene.js'

const HOUR = 3_600_000
/** Nothing comes back while a row runs. */
const SLOW = { intervalMs: 1_000 * HOUR }
const REQUESTS = { ...SLOW, limit: 100, burst: 100 }
const TOKENS = { ...SLOW, limit: 10_000, burst: 10_000 }

/** What a call has taken in the end, of both limits. */
const charged = (
  fault: string,
  play: Play | readonly Play[],
  taken: { requests: number; tokens: readonly [least: number, most: number] },
  rest: Partial<Row>,
): Row => ({
  fault,
  layers: { providerLimit: { requests: REQUESTS, tokens: TOKENS } },
  play,
  ends: 'answer',
  requests: 1,
  breaker: { successes: 1 },
  act: async (scene) => {
    const meta = new Map<string, unknown>()
    const outcome = await scene.ask(rest.call ?? 'text.generate', scene.token, { meta })
    const { limits } = meta.get('providerLimit') as RateLimitNote
    const [requests, tokens] = limits.map(({ limit, remaining }) => limit - remaining)
    expect(requests).toBe(taken.requests)
    expect(tokens).toBeGreaterThanOrEqual(taken.tokens[0])
    expect(tokens).toBeLessThanOrEqual(taken.tokens[1])
    return outcome
  },
  ...rest,
})
const NOTHING = [0, 0] as const
/** A prompt of about ten tokens. */
const PROMPT = [5, 15] as const

const error = (status: number) => json('{"error":{"message":"No."}}', status)
const withoutUsage: Play = (line) =>
  goodBut((_, request) => {
    const { usage: _usage, ...body } = JSON.parse(goodCompletion(request))
    return answer('200 OK', JSON.stringify(body), 'content-type: application/json')
  })(line)

const settlements: readonly Row[] = [
  charged('an answer without usage', withoutUsage, { requests: 1, tokens: [10, 40] }, {}),
  charged(
    '500, three times',
    error(500),
    { requests: 3, tokens: NOTHING },
    {
      ends: 'SERVER',
      requests: 3,
      breaker: { failures: 3 },
    },
  ),
  charged(
    '429, three times',
    error(429),
    { requests: 3, tokens: NOTHING },
    {
      clock: true,
      ends: 'RATE_LIMITED',
      requests: 3,
      breaker: {},
    },
  ),
  charged('400', error(400), { requests: 1, tokens: PROMPT }, { ends: 'BAD_REQUEST', breaker: {} }),
  charged(
    'an end before the head, three times',
    hangUp,
    { requests: 3, tokens: [15, 45] },
    {
      ends: 'NETWORK',
      requests: 3,
      breaker: { failures: 3 },
    },
  ),
  charged(
    'a stream that ends after its first content',
    stream(begun),
    { requests: 1, tokens: [5, 16] },
    {
      call: 'text.stream',
      ends: 'STREAM',
      text: BEGUN,
      breaker: { failures: 1 },
    },
  ),
  charged(
    '503, then a stream',
    [error(503)],
    { requests: 2, tokens: [3, 3] },
    {
      call: 'text.stream',
      requests: 2,
      breaker: { failures: 1, successes: 1 },
    },
  ),
]

/** Four calls at once, and one more each 20 s. */
const FOUR = { limit: 180, burst: 4, intervalMs: HOUR }
const DAY = 24 * HOUR

async function useUp(scene: Scene): Promise<void> {
  for (let i = 0; i < FOUR.burst; i++)
    expect(await scene.ask('text.generate', `${scene.token}.${i}`)).toMatchObject({ ok: true })
}

/** Four calls have used the limit up, and this becomes of the next one. */
const usedUp = (fault: string, options: RateLimitOptions, rest: Partial<Row> = {}): Row => ({
  fault: `the limit is used up${fault}`,
  layers: { rateLimit: { requests: FOUR, tokens: undefined, cost: undefined, ...options } },
  clock: true,
  ends: 'RATE_LIMITED',
  error: { status: 429, refused: true, limit: FOUR.limit, unit: 'requests' },
  requests: 4,
  breaker: { successes: 4 },
  act: async (scene) => {
    await useUp(scene)
    return scene.ask('text.generate', scene.token, rest.options)
  },
  also: waitedFor(0),
  after: () => vi.advanceTimersByTimeAsync(DAY),
  ...rest,
})

const refusals: readonly Row[] = [
  usedUp(
    ', and the next call waits',
    {},
    {
      ends: 'answer',
      requests: 5,
      breaker: { successes: 5 },
      also: waitedFor(20),
      after: () => vi.advanceTimersByTimeAsync(HOUR / 6),
    },
  ),
  usedUp(', and calls are refused', { mode: 'reject' }),
  usedUp(' until after the deadline', {}, { options: { timeoutMs: 15_000 } }),
  usedUp(' for longer than maxWaitMs', { maxWaitMs: 15_000 }),
  usedUp(', and no call may wait', { maxWaiting: 0 }),
  usedUp(
    ', and a caller aborts while it waits',
    {},
    {
      ends: 'the reason',
      requests: 5,
      breaker: { successes: 5 },
      act: async (scene) => {
        await useUp(scene)
        const controller = new AbortController()
        setTimeout(() => controller.abort(scene.reason), 10_000)
        const asked = scene.ask('text.generate', scene.token, { signal: controller.signal })
        const behind = scene.ask('text.generate', `${scene.token}.b`)
        const [outcome, next] = await Promise.all([asked, behind])
        // The one that has left took nothing, so the next one goes in its place.
        waitedFor(20)(next)
        return outcome
      },
      also: waitedFor(10),
    },
  ),
]

/** The calls of a day may cost 10; of the model `dear` each does, and of the others 1. */
const BUDGET: RateLimitOptions = {
  requests: undefined,
  tokens: undefined,
  cost: {
    limit: 10,
    per: 'day',
    price: (model) => ({ openai: 1, mistral: 1, dear: 10 })[model],
  },
}
const overBudget = (fault: string, rest: Partial<Row>): Row => ({
  fault,
  layers: { rateLimit: BUDGET, fallback: { to: ['mistral'], when: undefined } },
  clock: true,
  ends: 'BUDGET',
  error: { status: 402, refused: true, retryable: false },
  requests: 0,
  breaker: {},
  after: () => vi.advanceTimersByTimeAsync(DAY),
  ...rest,
})

const budgets: readonly Row[] = [
  overBudget('the budget is used up', {
    act: async (scene) => {
      await scene.ask('text.generate', `${scene.token}.h`, { model: 'dear' })
      return scene.ask('text.generate', scene.token)
    },
    requests: 1,
    breaker: { successes: 1 },
  }),
  overBudget('failed calls take nothing from the budget', {
    act: async (scene) => {
      scene.upstream.fault({ play: error(500) })
      await scene.ask('text.generate', `${scene.token}.h`, { model: 'dear' })
      return scene.ask('text.generate', scene.token, { model: 'dear' })
    },
    layers: { rateLimit: BUDGET, breaker: { key: 'model' } },
    ends: 'SERVER',
    error: { refused: false, upstreamStatus: 500 },
    requests: 6,
    breaker: { failures: 6 },
  }),
  overBudget('the price of the model is unknown', { options: { model: 'unheard-of' } }),
  overBudget('the price of the other model is unknown', {
    layers: {
      providerLimit: BUDGET,
      fallback: { to: ['unheard-of'], when: undefined },
    },
    play: error(404),
    requests: 1,
  }),
]

export const limits: Group = {
  title: 'Limits and budgets',
  rows: [...settlements, ...refusals, ...budgets],
}
