import { vi } from 'vitest'
import { answers, goodBut } from '../support/fault-plays.js'
import type { Play } from '../support/fault-upstream.js'
import { waitedFor } from './clock.js'
import type { Group, Row } from './row.js'

const TWO_HOURS = 2 * 3_600_000

type Headers = () => Readonly<Record<string, string>>
const withHeaders =
  (headers: Headers): Play =>
  (line) =>
    goodBut((bytes) => {
      const lines = Object.entries(headers()).map(([name, value]) => `${name}: ${value}\r\n`)
      return bytes.replace('\r\n', `\r\n${lines.join('')}`)
    })(line)

/** Upstream reports this of its own limits with one answer; so long does the next call wait. */
const reported = (
  fault: string,
  headers: Headers,
  seconds: number,
  rest: Partial<Row> = {},
): Row => ({
  fault,
  play: [withHeaders(headers)],
  clock: true,
  ends: 'answer',
  requests: 2,
  breaker: { successes: 2 },
  act: async (scene) => {
    await scene.ask(rest.call ?? 'text.generate', `${scene.token}.h`, rest.options)
    return scene.ask(rest.call ?? 'text.generate', scene.token)
  },
  also: waitedFor(seconds),
  ...rest,
})
const left =
  (unit: string, remaining: string, reset: string): Headers =>
  () => ({
    [`x-ratelimit-remaining-${unit}`]: remaining,
    [`x-ratelimit-reset-${unit}`]: reset,
  })

export const reportedLimits: Group = {
  title: 'Limits that upstream reports',
  rows: [
    reported('0 requests left for 30s', left('requests', '0', '30s'), 30),
    reported('0 requests left for 30s', left('requests', '0', '30s'), 30, { call: 'text.stream' }),
    reported('0 tokens left for 0m45s', left('tokens', '0', '0m45s'), 45),
    reported(
      '0 requests left until a date',
      () => left('requests', '0', new Date(Date.now() + 30_000).toISOString())(),
      30,
    ),
    reported('0 requests left for an hour', left('requests', '0', '1h'), 0, {
      ends: 'RATE_LIMITED',
      error: { refused: true, status: 429, unit: 'requests' },
      requests: 1,
      breaker: { successes: 1 },
      after: () => vi.advanceTimersByTimeAsync(TWO_HOURS),
    }),
    reported('0 requests left for a key that the call brought', left('requests', '0', '30s'), 0, {
      options: { apiKey: 'sk_Of_the_caller' },
    }),
    reported('1 request left', left('requests', '1', '30s'), 0),
    reported('0 requests left for an invalid time', left('requests', '0', 'soon'), 0),
    reported(
      '0 requests left, without a time',
      () => ({ 'x-ratelimit-remaining-requests': '0' }),
      0,
    ),
    reported('0 requests left for 30s, with 429', left('requests', '0', '30s'), 30, {
      play: [answers(429, '', left('requests', '0', '30s')())],
      act: (scene) => scene.ask('text.generate', scene.token),
      breaker: { successes: 1 },
    }),
  ],
}
