import { describe, expect, it } from 'vitest'
import { upstreamError as errorOf } from '../../../../../src/client/wire/upstream-error.js'
import {
  ClosedError,
  QueueFullError,
  RateLimitError,
  TimeoutError,
} from '../../../../../src/core/index.js'
import { isOverload } from '../../../../../src/layers/queue/concurrency/overload.js'
import { upstreamError } from '../../../../support/upstream.js'

const refusing = new Proxy({}, { get: () => expect.fail('read') })

describe('isOverload', () => {
  it.each([429, 503, 529])('holds for an upstream that answers %i', (upstreamStatus) => {
    expect(isOverload(errorOf({ upstreamStatus }), false)).toBe(true)
    expect(isOverload(Object.assign(new Error('foreign'), { status: upstreamStatus }), false)).toBe(
      true,
    )
  })

  it.each([400, 401, 402, 403, 404, 408, 500, 502, 504])('does not hold for %i', (status) => {
    expect(isOverload(errorOf({ upstreamStatus: status }), false)).toBe(false)
  })

  it.each([
    ['no first token in time', new TimeoutError(5, { phase: 'first-token' })],
    ['no answer in time', new TimeoutError(5)],
    ['no connection in time', new TimeoutError(0, { cause: { code: 'UND_ERR_CONNECT_TIMEOUT' } })],
  ])('holds for %s', (_, error) => {
    expect(isOverload(error, false)).toBe(true)
    expect(isOverload(error, true)).toBe(false)
  })

  it.each([
    ['a wait further in', new TimeoutError(5, { phase: 'queue' })],
    ['silence in a stream', new TimeoutError(5, { phase: 'idle' })],
    ['a stream that nobody reads', new TimeoutError(5, { phase: 'read' })],
    ['a queue further in', new QueueFullError(5)],
    ['a limit of ours', new RateLimitError('ours', { refused: true })],
    ['a closed stack', new ClosedError()],
    ['a lost connection', upstreamError('NETWORK')],
    ['a programming mistake', new TypeError('no')],
    ['nothing', undefined],
    ['a string', '429'],
    ['a proxy that throws', refusing],
  ])('does not hold for %s', (_, error) => {
    expect(isOverload(error, false)).toBe(false)
  })

  it('does not hold for what breaks after the answer has begun', () => {
    expect(isOverload(upstreamError('SERVER'), true)).toBe(false)
  })
})
