import type { LimitLevel } from '../../layers/rate-limit/index.js'

const inSeconds = (ms: number): number => Math.ceil(ms / 1_000)

/**
 * Adds headers that report the client's limits, in the formats of the IETF draft and of OpenAI.
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 * @see https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
 */
export function limitHeaders(levels: readonly LimitLevel[], headers: Record<string, string>): void {
  if (levels.length === 0) return
  headers['ratelimit-policy'] = levels
    .map(({ unit, limit, intervalMs }) => `"${unit}";q=${limit};w=${inSeconds(intervalMs)}`)
    .join(', ')
  headers.ratelimit = levels
    .map(({ unit, remaining, resetMs }) => `"${unit}";r=${remaining};t=${inSeconds(resetMs)}`)
    .join(', ')
  for (const { unit, limit, remaining, resetMs } of levels) {
    headers[`x-ratelimit-limit-${unit}`] = String(limit)
    headers[`x-ratelimit-remaining-${unit}`] = String(remaining)
    headers[`x-ratelimit-reset-${unit}`] = durationOf(resetMs)
  }
}

/** A duration in OpenAI's format: `20ms`, `1s`, `6m0s`, `1h0m0s`. */
function durationOf(ms: number): string {
  if (ms > 0 && ms < 1_000) return `${Math.ceil(ms)}ms`
  const seconds = inSeconds(ms)
  const minutes = Math.floor(seconds / 60)
  if (minutes === 0) return `${seconds}s`
  const hours = Math.floor(minutes / 60)
  const rest = `${minutes % 60}m${seconds % 60}s`
  return hours === 0 ? rest : `${hours}h${rest}`
}
