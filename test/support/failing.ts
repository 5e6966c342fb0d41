import { stack } from '../../src/core/index.js'
import { type RetryOptions, retry } from '../../src/layers/retry/index.js'
import { tick } from './fake-timers.js'
import { scripted } from './scripted.js'
import { upstreamError } from './upstream.js'
import { watch } from './watch.js'

export const server = (options = {}) => upstreamError('SERVER', options)
export const busy = (retryAfter?: number) => upstreamError('RATE_LIMITED', { retryAfter })

/**
 * A stack that fails with `error` and its number of calls; the backoff is drawn as half of what it
 * may be.
 */
export function failing(error: unknown, options: RetryOptions = {}) {
  const base = scripted<string>(() => Promise.reject(error))
  const ask = stack(base, retry({ random: () => 0.5, ...options }))
  return { ask, base, calls: () => base.calls.length }
}

/** Lets a call run until it settles, over at most `ms`. */
export async function settle<T>(promise: Promise<T>, ms = 60_000) {
  const call = watch(promise)
  await tick(ms)
  return call
}
