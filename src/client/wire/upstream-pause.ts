import { type LimitUnit, now, type UpstreamPause, wallTime } from '../../core/index.js'
import { type Headers, headerOf } from './failure.js'

const REMAINING = 'x-ratelimit-remaining-'
const RESET = 'x-ratelimit-reset-'

/** Larger numbers are not durations but seconds since the epoch. */
const LONGEST_SECONDS = 1e9

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 24 * 3_600_000,
}

/**
 * Reads which limit upstream reports as used up, and until when: a header `x-ratelimit-remaining-…`
 * of 0 and its `x-ratelimit-reset-…`. If there are several, returns the one that lasts longest.
 * @see https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
 */
export function readPause(headers: Headers): UpstreamPause | undefined {
  let longest: UpstreamPause | undefined
  for (const name in headers) {
    if (!name.startsWith(REMAINING)) continue
    const kind = name.slice(REMAINING.length)
    if (!/^\s*0+\s*$/.test(headerOf(headers, name) ?? '')) continue
    const ms = readReset(headerOf(headers, RESET + kind))
    if (ms === undefined || ms <= 0) continue
    const until = now() + ms
    if (longest === undefined || until > longest.until) longest = { until, unit: unitOf(kind) }
  }
  return longest
}

const unitOf = (kind: string): LimitUnit | undefined =>
  kind.includes('token') ? 'tokens' : kind.includes('request') ? 'requests' : undefined

/**
 * Time until a limit is reset, in milliseconds, from a duration such as OpenAI's `6m0s`, seconds,
 * an ISO date, or seconds since the epoch. Returns `undefined` for anything else.
 */
export function readReset(given: string | undefined): number | undefined {
  const text = given?.trim() ?? ''
  if (/^\d+(\.\d+)?$/.test(text)) {
    const seconds = Number(text)
    return seconds < LONGEST_SECONDS ? seconds * 1_000 : seconds * 1_000 - wallTime()
  }
  if (/^(\d+(\.\d+)?(ms|[smhd]))+$/.test(text)) return sumOf(text)
  if (!/^\d{4}-\d\d-\d\d[T ]/.test(text)) return undefined
  const moment = Date.parse(text)
  return Number.isNaN(moment) ? undefined : moment - wallTime()
}

/** Milliseconds of a duration in parts, such as `1h2m3.5s`. */
function sumOf(text: string): number {
  let ms = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g))
    ms += Number(amount) * (UNIT_MS[unit as string] as number)
  return ms
}
