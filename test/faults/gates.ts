import { expect, vi } from 'vitest'
import {
  after,
  answers,
  BEGUN,
  begun,
  hangUp,
  json,
  silent,
  stream,
} from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import { goodAnswer } from '../support/good-answers.js'
import { waitedFor } from './clock.js'
import type { Group, Row } from './row.js'
import type { Scene } from './scene.js'
import { became } from './tally.js'

const HOUR = 3_600_000
const limited = (seconds?: number): Play =>
  answers(429, '', seconds === undefined ? {} : { 'retry-after': String(seconds) })
const error = (status: number) => json('{"error":{"message":"No."}}', status)
const OWN_KEY = { apiKey: 'sk_Of_the_caller' }

/** The request behind those that were limited, by the time between the two. Milliseconds. */
const paused =
  (refused: number, [least, most]: readonly [number, number]): NonNullable<Row['also']> =>
  (_outcome, { upstream: { requests } }) => {
    const waited = requests[refused]!.at - requests[refused - 1]!.at
    expect(waited).toBeGreaterThanOrEqual(least)
    expect(waited).toBeLessThanOrEqual(most)
  }

/** A call is limited so, and another one waits behind it for the one slot. */
const gated = (
  fault: string,
  play: readonly Play[],
  rest: Partial<Row>,
  options: Parameters<Scene['ask']>[2] = {},
): Row => ({
  fault,
  play,
  clock: true,
  ends: 'answer',
  requests: play.length + 2,
  breaker: { successes: 2 },
  act: async (scene) => {
    const [, outcome] = await Promise.all([
      scene.ask('text.generate', `${scene.token}.h`, options),
      scene.ask('text.generate', scene.token, rest.options),
    ])
    return outcome
  },
  ...rest,
})
const alone = { requests: 2, breaker: { successes: 1 }, also: waitedFor(0) }

const gates: readonly Row[] = [
  gated('429, Retry-After: 5, delays the next call', [limited(5)], {
    also: paused(1, [5_000, 5_300]),
  }),
  gated('429 delays the next call', [limited()], { also: paused(1, [1_000, 1_600]) }),
  gated('429 twice delays the next call for longer', [limited(), limited()], {
    also: paused(2, [2_000, 2_900]),
  }),
  gated('429, Retry-After: 3600, and the next call has a deadline of 30 s', [limited(3_600)], {
    options: { timeoutMs: 30_000 },
    ends: 'RATE_LIMITED',
    error: { refused: true, status: 429 },
    requests: 1,
    breaker: {},
    also: waitedFor(0),
    after: () => vi.advanceTimersByTimeAsync(HOUR),
  }),
  gated('429 for a key that a call brought delays no other call', [limited(3_600)], alone, OWN_KEY),
  gated(
    '429 for one model does not delay other models',
    [limited(3_600)],
    {
      ...alone,
      layers: { queue: { concurrency: 1, gate: 'model' }, pool: { connections: 1, gate: 'model' } },
    },
    { model: 'mistral' },
  ),
  {
    fault: '429 for three calls at once, then one call starts alone',
    layers: { queue: { concurrency: 3 }, pool: { connections: 3 } },
    play: [...Array(3).fill(limited(5)), ...Array(3).fill(after(1_000, goodAnswer))],
    slots: 2,
    clock: true,
    ends: 'answer',
    requests: 6,
    breaker: { successes: 3 },
    act: async (scene) => {
      const others = ['i', 'j'].map((mark) => scene.ask('text.generate', `${scene.token}.${mark}`))
      const [outcome] = await Promise.all([scene.ask('text.generate', scene.token), ...others])
      return outcome
    },
    also: (_outcome, { upstream: { requests } }) => {
      const [first, second, third] = requests.slice(3).map(({ at }) => at)
      expect(second! - first!).toBeGreaterThanOrEqual(1_000)
      expect(third! - second!).toBeLessThan(1_000)
    },
  },
]

const keysOf = ({ upstream }: Scene) =>
  upstream.requests.map(({ headers }) => headers.authorization?.replace('Bearer sk_', ''))
const TWO_MEMBERS = { members: [{ apiKey: 'sk_one' }, { apiKey: 'sk_two' }], connections: 1 }

/** One of two members does this. */
const member = (fault: string, play: readonly Play[], rest: Partial<Row>): Row => ({
  fault: `${fault} from one of two members`,
  layers: { pool: TWO_MEMBERS, queue: { concurrency: 2 } },
  play,
  slots: 2,
  clock: true,
  ends: 'answer',
  requests: 2,
  breaker: { successes: 1 },
  also: (outcome, scene) => {
    expect(keysOf(scene)).toEqual(['one', 'two'])
    waitedFor(0)(outcome)
  },
  ...rest,
})

const members: readonly Row[] = [
  member('429, Retry-After: 3600,', [limited(3_600)], { slots: 1 }),
  member('503', [error(503)], { breaker: { failures: 1, successes: 1 } }),
  member('401', [error(401)], {
    ends: 'AUTH',
    requests: 1,
    breaker: {},
    also: async (_outcome, scene) => {
      await scene.ask('text.generate', `${scene.token}.n`)
      expect(keysOf(scene)).toEqual(['one', 'two'])
    },
  }),
  member('503 for a conversation', [error(503)], {
    layers: {
      pool: { ...TWO_MEMBERS, affinity: () => 'a conversation' },
      queue: { concurrency: 2 },
    },
    breaker: { failures: 1, successes: 1 },
    also: async (_outcome, scene) => {
      await scene.ask('text.generate', `${scene.token}.n`)
      const [first, ...others] = keysOf(scene)
      // It stays where it was answered.
      const other = first === 'one' ? 'two' : 'one'
      expect(others).toEqual([other, other])
    },
  }),
  member('429, Retry-After: 3600,', [limited(3_600), limited(3_600)], {
    fault: '429, Retry-After: 3600, from both members',
    ends: 'RATE_LIMITED',
    breaker: {},
    slots: 2,
    after: () => vi.advanceTimersByTimeAsync(HOUR),
  }),
]

/**
 * What a fault of a call that runs alone leaves of a concurrency of 4 that finds its own way: 1
 * when upstream could not take even that one.
 */
const adaptive = (
  fault: string,
  play: Play,
  concurrency: number,
  rest: Partial<Row> = {},
): Row => ({
  fault: `${fault}, with adaptive concurrency`,
  layers: { queue: { concurrency: 'adaptive' }, pool: { connections: 10 } },
  play: [play],
  slots: concurrency,
  clock: true,
  ends: 'answer',
  requests: 2,
  breaker: { failures: 1, successes: 1 },
  also: (_outcome, { blossom }) => expect(blossom.stats().queue.concurrency).toBe(concurrency),
  ...rest,
})
const noVerdict = { breaker: { successes: 1 } }

const concurrencies: readonly Row[] = [
  adaptive('429', limited(), 1, noVerdict),
  adaptive('503', error(503), 1),
  adaptive('529', error(529), 1),
  adaptive('no first token in time', silent, 1, { call: 'text.stream' }),
  adaptive('500', error(500), 4),
  adaptive('an end before the head', hangUp, 4),
  adaptive('429 for a key that the call brought', limited(), 4, {
    ...noVerdict,
    options: OWN_KEY,
    kept: false,
  }),
  adaptive('a stream that ends after its first content', stream(begun), 4, {
    call: 'text.stream',
    ends: 'STREAM',
    text: BEGUN,
    requests: 1,
    breaker: { failures: 1 },
  }),
]

/** A tenant fills the queue while upstream is silent; its first call is aborted when all wait. */
const flooded = (fault: string, maxWaiting: number, rest: Partial<Row>): Row => ({
  fault: `a tenant fills the queue${fault}`,
  layers: { queue: { concurrency: 1, maxWaiting } },
  play: [silent],
  ends: 'answer',
  requests: 6,
  breaker: { successes: 5 },
  act: async (scene) => {
    const controller = new AbortController()
    const { signal } = controller
    const flood = Array.from({ length: 5 }, (_, i) =>
      scene.ask('text.generate', `${scene.token}.${i}`, {
        tenant: 'flood',
        ...(i === 0 && { signal }),
      }),
    )
    await became(() => scene.upstream.reached === 1)
    const asked = scene.ask('text.generate', scene.token)
    controller.abort(scene.reason)
    await Promise.all(flood)
    return asked
  },
  also: (_outcome, { upstream: { requests }, token }) => expect(requests[1]?.token).toBe(token),
  ...rest,
})

const turns: readonly Row[] = [
  flooded(', and a new tenant is next', 1_000, {}),
  flooded(' completely, and its latest call is refused in favour of a new tenant', 4, {
    requests: 5,
    breaker: { successes: 4 },
  }),
]

export const gatesAndTurns: Group = {
  title: 'Pauses, members, concurrency and turns',
  rows: [...gates, ...members, ...concurrencies, ...turns],
}
