import { expect } from 'vitest'
import type { HedgeOptions } from '../../src/index.js'
import {
  after,
  BEGUN,
  begun,
  byModel,
  json,
  OTHER_BEGUN,
  otherBegun,
  otherWords,
  repeats,
  silent,
  stream,
} from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import { goodAnswer, goodText } from '../support/good-answers.js'
import { STREAM_HEAD } from '../support/wire.js'
import type { Group, Row } from './row.js'

const error = (status: number) => json('{"error":{"message":"No."}}', status)
const comments = repeats(STREAM_HEAD, ': wait\n\n', 500)
const late = (play: Play): Play => after(3_000, play)

const AFTER_A_SECOND: HedgeOptions = {
  to: ['mistral'],
  delayMs: 1_000,
  budget: { size: 100, start: 100 },
}
const TWO_SLOTS = { queue: { concurrency: 2 }, pool: { connections: 2 } }

type Counts = Partial<Record<'hedged' | 'won' | 'lost' | 'refused', number>>
const counts =
  (expected: Counts): NonNullable<Row['also']> =>
  (_outcome, { blossom }) =>
    expect(blossom.stats().hedge).toEqual({ hedged: 0, won: 0, lost: 0, refused: 0, ...expected })

/** A call whose first try does `first`, and whose second one does `second` a second later. */
const raced = (fault: string, first: Play, second: Play | undefined, rest: Partial<Row>): Row => ({
  fault,
  layers: { ...TWO_SLOTS, hedge: AFTER_A_SECOND },
  slots: 2,
  play: byModel({ openai: first, ...(second && { mistral: second }) }),
  clock: true,
  ends: 'answer',
  requests: 2,
  breaker: { successes: 1 },
  ...rest,
})
const theirs = (token: string) => otherWords(goodText(token))
const won = { text: theirs, also: counts({ hedged: 1, won: 1 }) }
const lost = { also: counts({ hedged: 1, lost: 1 }) }

/** The second try is not made, and the first one answers late. */
const refused = (fault: string, rest: Partial<Row>): Row =>
  raced(fault, late(goodAnswer), undefined, {
    requests: 1,
    also: counts({ refused: 1 }),
    ...rest,
  })

const answered: readonly Row[] = [
  raced('the first request gets no answer', silent, undefined, won),
  raced('the first request gets no answer', silent, undefined, { ...won, call: 'text.stream' }),
  raced(
    'the first request fails while the second runs',
    late(error(500)),
    after(4_000, byModel({})),
    {
      ...won,
      breaker: { failures: 1, successes: 1 },
    },
  ),
  raced('the first request gets only comments', comments, undefined, {
    ...won,
    call: 'text.stream',
  }),
  raced('the second request fails, and the first is answered', late(goodAnswer), error(500), {
    ...lost,
    breaker: { failures: 1, successes: 1 },
  }),
  raced('the second request gets a 429, and the first is answered', late(goodAnswer), error(429), {
    ...lost,
    slots: 1,
  }),
  raced(
    'the second request gets no answer, and the first is answered',
    late(goodAnswer),
    silent,
    lost,
  ),
  raced('the first request gets no answer from one member', silent, undefined, {
    layers: {
      hedge: { ...AFTER_A_SECOND, to: undefined },
      queue: { concurrency: 2 },
      pool: { members: [{ apiKey: 'sk_one' }, { apiKey: 'sk_two' }], connections: 1 },
    },
    play: [silent],
    text: goodText,
    also: (_outcome, { upstream, blossom }) => {
      const keys = upstream.requests.map(({ headers }) => headers.authorization)
      expect(keys.toSorted()).toEqual(['Bearer sk_one', 'Bearer sk_two'])
      expect(blossom.stats().hedge).toMatchObject({ hedged: 1, won: 1 })
    },
  }),
]

const failed: readonly Row[] = [
  raced('both requests fail, in every attempt', late(error(500)), error(500), {
    ends: 'SERVER',
    requests: 6,
    breaker: { failures: 6 },
    also: counts({ hedged: 3, lost: 3 }),
  }),
  raced('400 for the second request', silent, error(400), {
    ends: 'BAD_REQUEST',
    breaker: {},
    ...lost,
  }),
  raced('401 for the second request, with the same key', silent, error(401), {
    ends: 'AUTH',
    breaker: {},
    ...lost,
  }),
  raced('the deadline passes while neither request is answered', silent, silent, {
    options: { timeoutMs: 5_000 },
    ends: 'TIMEOUT',
    breaker: { failures: 2 },
    ...lost,
  }),
  raced('the caller aborts while neither request is answered', silent, silent, {
    ends: 'the reason',
    breaker: {},
    act: async (scene) => {
      const controller = new AbortController()
      setTimeout(() => controller.abort(scene.reason), 3_000)
      return scene.ask('text.generate', scene.token, { signal: controller.signal })
    },
    ...lost,
  }),
  raced(
    'the second request wins, and its stream ends after its first content',
    silent,
    stream(otherBegun),
    {
      call: 'text.stream',
      ends: 'STREAM',
      text: OTHER_BEGUN,
      breaker: { failures: 1 },
      also: counts({ hedged: 1, won: 1 }),
    },
  ),
  raced('the first request wins, and its stream ends after its first content', silent, silent, {
    call: 'text.stream',
    play: byModel({ openai: late(stream(begun)), mistral: silent }),
    ends: 'STREAM',
    text: BEGUN,
    breaker: { failures: 1 },
    ...lost,
  }),
]

const notMade: readonly Row[] = [
  refused('the first request is slow, and there is no free slot', {
    layers: { hedge: AFTER_A_SECOND },
    slots: 1,
  }),
  refused('the first request is slow, and the budget is used up', {
    layers: { ...TWO_SLOTS, hedge: { ...AFTER_A_SECOND, budget: { start: 0 } } },
  }),
  refused('the first request is slow, and providerLimit is used up', {
    layers: {
      ...TWO_SLOTS,
      hedge: AFTER_A_SECOND,
      providerLimit: { requests: { limit: 60, burst: 1, intervalMs: 600_000 } },
    },
    slots: 1,
  }),
  refused('the first request is slow, and no other member is free', {
    layers: {
      hedge: { ...AFTER_A_SECOND, to: undefined },
      queue: { concurrency: 2 },
      pool: { connections: 2 },
    },
    also: counts({}),
  }),
]

export const secondTries: Group = {
  title: 'A second try beside the first',
  rows: [...answered, ...failed, ...notMade],
}
