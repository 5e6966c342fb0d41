import { wallTime } from '../../core/index.js'

/** Longer waits are shortened to this, so that multiplying them stays finite. */
const LONGEST = 1e12

const HTTP_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /

/**
 * How long upstream asks to wait, in milliseconds: from `retry-after-ms`, from `Retry-After` in
 * seconds (fractions allowed) or as an HTTP date, or from the body's `retryAfterSeconds`. Returns
 * `undefined` if there is no valid value in the future. A date is compared with the answer's own
 * `Date` header, because the two clocks may differ by more than the wait.
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function readRetryAfter(
  headers: Readonly<Record<string, unknown>>,
  body?: unknown,
  now: number = wallTime(),
): number | undefined {
  const exact = decimal(headers['retry-after-ms'])
  if (exact !== undefined) return exact
  const header = headers['retry-after']
  const seconds = decimal(header)
  if (seconds !== undefined) return seconds * 1_000
  const ahead = (readDate(header) ?? Number.NaN) - (readDate(headers.date) ?? now)
  if (ahead > 0) return ahead
  return inBody(body) ?? inBody((body as { error?: unknown } | null | undefined)?.error)
}

/** An HTTP date, in milliseconds since the epoch. */
function readDate(value: unknown): number | undefined {
  if (typeof value !== 'string' || !HTTP_DATE.test(value)) return undefined
  const moment = Date.parse(value)
  return Number.isNaN(moment) ? undefined : moment
}

function decimal(value: unknown): number | undefined {
  return typeof value === 'string' && /^\s*\d+(\.\d+)?\s*$/.test(value)
    ? Math.min(Number(value), LONGEST)
    : undefined
}

function inBody(body: unknown): number | undefined {
  if (typeof body !== 'object' || body === null) return undefined
  const { retryAfterSeconds: seconds } = body as { retryAfterSeconds?: unknown }
  return typeof seconds === 'number' && seconds >= 0
    ? Math.min(seconds, LONGEST) * 1_000
    : undefined
}
