import { expect, vi } from 'vitest'
import { answers } from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import type { Group, Row } from './row.js'

/** What retries wait by themselves in these tests, at most. Milliseconds. */
const OWN_MS = 2
/** How long an account rests that has named no time. */
const OWN = [1_000, 1_250 + OWN_MS] as const
/** How long it rests at most. */
const LONGEST_MS = 60_000

/** The wait between the first two attempts, on a clock that is the test's. */
const waits =
  ([least, most]: readonly [number, number]): NonNullable<Row['also']> =>
  (_outcome, { attempts }) => {
    const waited = attempts[1]!.at - attempts[0]!.at
    expect(waited).toBeGreaterThanOrEqual(least)
    expect(waited).toBeLessThanOrEqual(most + 0.001)
  }

interface Asked {
  readonly status?: number
  readonly headers?: () => Record<string, string>
  readonly body?: string
}

const limited =
  ({ status = 429, headers = () => ({}), body = '' }: Asked): Play =>
  (line) =>
    answers(status, body, headers())(line)

/** Asked to wait once, and then answered. */
const waiting = (fault: string, asked: Asked, wait: readonly [number, number]): Row => ({
  fault,
  play: [limited(asked)],
  clock: true,
  ends: 'answer',
  requests: 2,
  breaker: asked.status === undefined ? { successes: 1 } : { failures: 1, successes: 1 },
  also: waits(wait),
})

/** Asked to wait longer than makes sense: it fails at once. */
const refusing = (fault: string, asked: Asked, rest: Partial<Row> = {}): Row => ({
  fault,
  play: limited(asked),
  clock: true,
  ends: 'RATE_LIMITED',
  requests: 1,
  breaker: {},
  also: ({ began, settled }) => expect(settled - began).toBeLessThan(1_000),
  after: () => vi.advanceTimersByTimeAsync(LONGEST_MS),
  ...rest,
})

const after = (value: string): Asked => ({ headers: () => ({ 'retry-after': value }) })
const date = (ms: number): Asked => ({
  headers: () => ({ 'retry-after': new Date(Date.now() + ms).toUTCString() }),
})

export const retryAfter: Group = {
  title: '429 and how long to wait',
  rows: [
    waiting('Retry-After: 2', after('2'), [2_000, 2_000 + OWN_MS]),
    waiting('Retry-After: 1.5', after('1.5'), [1_500, 1_500 + OWN_MS]),
    waiting('Retry-After: 2, with 503', { status: 503, ...after('2') }, [2_000, 2_000 + OWN_MS]),
    waiting('Retry-After: a date in 3 s', date(3_000), [1_900, 3_000 + OWN_MS]),
    waiting(
      'retry-after-ms: 250',
      { headers: () => ({ 'retry-after-ms': '250', 'retry-after': '9' }) },
      [250, 250 + OWN_MS],
    ),
    waiting(
      'retryAfterSeconds: 12.5 in the body',
      { body: '{"error":{"retryAfterSeconds":12.5}}' },
      [12_500, 12_500 + OWN_MS],
    ),
    waiting('Retry-After: 60, the longest wait allowed', after('60'), [60_000, 60_000 + OWN_MS]),
    waiting('Retry-After: 0', after('0'), OWN),
    waiting('Retry-After: a past date', date(-60_000), OWN),
    waiting('Retry-After: -5', after('-5'), OWN),
    waiting('Retry-After: 1e3', after('1e3'), OWN),
    waiting('Retry-After: Infinity', after('Infinity'), OWN),
    waiting('Retry-After: NaN', after('NaN'), OWN),
    waiting('Retry-After: empty', after(''), OWN),
    waiting('Retry-After: garbage', after('soon, I hope'), OWN),
    waiting('Retry-After: hex', after('0x10'), OWN),
    waiting('a negative retryAfterSeconds in the body', { body: '{"retryAfterSeconds":-4}' }, OWN),
    waiting('a tiny retryAfterSeconds in the body', { body: '{"retryAfterSeconds":1e-300}' }, [
      0,
      OWN_MS,
    ]),
    refusing('Retry-After: 61', after('61')),
    refusing('Retry-After: 3600', after('3600')),
    refusing('Retry-After: 2147484 (more than a timer can hold)', after('2147484')),
    refusing('Retry-After: 99999999999999999999', after('99999999999999999999')),
    refusing('retryAfterSeconds: 1e300 in the body', { body: '{"retryAfterSeconds":1e300}' }),
    refusing('Retry-After: a date of the year 9999', after('Fri, 31 Dec 9999 23:59:59 GMT')),
    refusing('Retry-After: a date in a year', date(365 * 86_400_000)),
    refusing('Retry-After: 5, and the caller has a deadline of 3 s', after('5'), {
      options: { timeoutMs: 3_000 },
    }),
    refusing('Retry-After: 3600', after('3600'), { call: 'text.stream' }),
    refusing('Retry-After: 3600', after('3600'), { call: 'image.generate' }),
  ],
}
