import { describe, expect, it } from 'vitest'
import {
  BreakerOpenError,
  ClosedError,
  ConfigError,
  QueueFullError,
  RateLimitError,
  TimeoutError,
  ValidationError,
} from '../../../../src/core/index.js'
import { isWorthAnother } from '../../../../src/layers/fallback/worth.js'
import { upstreamError } from '../../../support/upstream.js'

/** As SDKs throw it. */
const apiError = (fields: object) => Object.assign(new Error('api'), fields)

describe('isWorthAnother', () => {
  it.each([
    ['a breaker that is open', new BreakerOpenError(5)],
    ['a full queue', new QueueFullError(5)],
    ['a limit', new RateLimitError('limit', { refused: true })],
    ['a time limit', new TimeoutError(5)],
    ['a wait that was too long', new TimeoutError(5, { phase: 'queue' })],
    ['a stack that is closed', new ClosedError()],
    ['an error of the function', new Error('down')],
    ['a text', 'down'],
    ['undefined', undefined],
    ['a fetch that failed', new TypeError('fetch failed')],
    ...[401, 402, 403, 404, 408, 429, 500, 503, 529].map(
      (status) => [`a status ${status}`, apiError({ status })] as [string, unknown],
    ),
  ])('holds for %s', (_, error) => {
    expect(isWorthAnother(error, true)).toBe(true)
  })

  it.each([
    ['a mistake in the options', new ConfigError('x')],
    ['a mistake in the arguments', new ValidationError('x')],
    ['a request that is wrong', upstreamError('BAD_REQUEST')],
    ['a programming mistake', new TypeError('x is not a function')],
    ['an abort', new DOMException('x', 'AbortError')],
    ...[400, 409, 413, 422].map(
      (status) => [`a status ${status}`, apiError({ status })] as [string, unknown],
    ),
    ['a content that is refused', apiError({ status: 500, code: 'content_filter' })],
    ['the same by its type', apiError({ status: 403, type: 'safety_error' })],
    [
      'the same by upstream’s code',
      Object.assign(upstreamError('SERVER'), { upstreamCode: 'content_policy_violation' }),
    ],
  ])('does not hold for %s', (_, error) => {
    expect(isWorthAnother(error, true)).toBe(false)
  })

  it('does not hold for a 404 of a request without a model', () => {
    for (const error of [upstreamError('NOT_FOUND'), apiError({ status: 404 })]) {
      expect(isWorthAnother(error, true)).toBe(true)
      expect(isWorthAnother(error, false)).toBe(false)
    }
  })
})
