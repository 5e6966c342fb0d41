import { describe, expect, test } from 'vitest'
import {
  BreakerOpenError,
  ConfigError,
  type ErrorCode,
  RateLimitError,
  StackError,
  ValidationError,
} from '../../../src/core/index.js'
import { toProblem } from '../../../src/streams/index.js'

describe('toProblem', () => {
  test('reports status, code and message of our errors, and when to retry in whole seconds', () => {
    expect(
      toProblem(new BreakerOpenError(1200), { requestId: 'r1', instance: '/calls/7' }),
    ).toEqual({
      status: 503,
      headers: { 'content-type': 'application/problem+json', 'retry-after': '2' },
      body: {
        type: 'about:blank',
        title: 'Service Unavailable',
        status: 503,
        detail:
          'Rejected: the circuit is open because too many calls have failed. Retry after 1200 ms.',
        code: 'BREAKER_OPEN',
        instance: '/calls/7',
        requestId: 'r1',
      },
    })
  })

  test.each([
    [undefined, undefined],
    [0, '0'],
    [1, '1'],
    [1000, '1'],
    [1001, '2'],
    [-5, '0'],
    [Number.NaN, undefined],
    [Number.POSITIVE_INFINITY, undefined],
  ])('retryAfter of %s ms becomes %s', (retryAfter, header) => {
    expect(toProblem(new RateLimitError('Slower.', { retryAfter })).headers['retry-after']).toBe(
      header,
    )
  })

  test.each<[ErrorCode, number]>([
    ['AUTH', 502],
    ['FORBIDDEN', 502],
    ['PAYMENT', 503],
  ])("says nothing about the server's own account: %s %i", (code, status) => {
    const { body } = toProblem(
      new StackError('Key sk_123 of Jane is out of money.', { code, status }),
    )
    expect(body).toMatchObject({
      status,
      code,
      detail: 'The service is currently unavailable.',
    })
  })

  test('does not show the host that could not be reached', () => {
    const error = new StackError('No answer arrived from 10.0.0.5:8080.', {
      code: 'NETWORK',
      status: 502,
    })
    expect(toProblem(error).body.detail).toBe('The connection to upstream failed.')
  })

  test("repeats the message when the caller's own key is refused", () => {
    expect(
      toProblem(new StackError('The key is unknown.', { code: 'AUTH', status: 401 })).body.detail,
    ).toBe('The key is unknown.')
  })

  test.each([
    new TypeError("Cannot read properties of undefined (reading '/srv/app')"),
    Object.assign(new Error('secret'), { status: 404, code: 'NOT_FOUND', retryAfter: 5 }),
    'secret',
    undefined,
    null,
    { message: 'secret', status: 400 },
  ])('anything else is INTERNAL: %s', (error) => {
    expect(toProblem(error)).toEqual({
      status: 500,
      headers: { 'content-type': 'application/problem+json' },
      body: {
        type: 'about:blank',
        title: 'Internal Server Error',
        status: 500,
        detail: 'An unexpected error occurred.',
        code: 'INTERNAL',
      },
    })
  })

  test.each([
    new DOMException('This operation was aborted', 'AbortError'),
    Object.assign(new Error('secret'), { name: 'AbortError' }),
  ])('a client that has left is 499, which is no failure of the server: %s', (error) => {
    expect(toProblem(error)).toMatchObject({
      status: 499,
      body: {
        title: 'Client Closed Request',
        status: 499,
        detail: 'The request was aborted.',
        code: 'ABORTED',
      },
    })
  })

  test('never shows a cause, a stack, a layer or the value of an option', () => {
    const cause = new Error('secret cause')
    const text = JSON.stringify([
      toProblem(
        new StackError('Sentence.', { code: 'NETWORK', status: 502, cause, layer: 'secret layer' }),
      ),
      toProblem(new ConfigError('x: option "baseURL" must be a URL, got "secret".')),
    ])
    expect(text).not.toMatch(/secret|stack|\.ts/)
    expect(text).toContain('"code":"CONFIG"')
  })

  test('names the wrong fields of a request, and only their names and sentences', () => {
    const errors = [
      { field: 'prompt', message: 'must be a string', value: 'secret' },
      { field: 5 },
      null,
      'secret',
    ]
    const error = Object.assign(new ValidationError('Wrong.'), { errors })
    expect(toProblem(error).body.errors).toEqual([{ field: 'prompt', message: 'must be a string' }])
    expect(toProblem(Object.assign(new RateLimitError('x'), { errors })).body).not.toHaveProperty(
      'errors',
    )
    expect(toProblem(new ValidationError('Wrong.')).body).not.toHaveProperty('errors')
  })

  test('a status that is not an error status becomes 500', () => {
    for (const status of [200, 399, 600, 404.5, Number.NaN]) {
      expect(toProblem(new StackError('x', { code: 'SERVER', status })).status).toBe(500)
    }
    expect(toProblem(new StackError('x', { code: 'SERVER', status: 599 })).body.title).toBe('Error')
  })

  test('refuses wrong options', () => {
    expect(() => toProblem(new Error('x'), { requestID: 'x' } as never)).toThrow(
      /^toProblem: option "requestID" is unknown/,
    )
  })
})
