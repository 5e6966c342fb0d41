import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import { errorInside, failureInside, failureOf } from '../../../src/client/wire/failure.js'
import { networkFailure } from '../../../src/client/wire/network-failure.js'
import { upstreamError } from '../../../src/client/wire/upstream-error.js'
import {
  AuthenticationError,
  BlossomError,
  InvalidRequestError,
  isStackError,
  NetworkError,
  NotFoundError,
  PaymentRequiredError,
  PermissionError,
  ProtocolError,
  RateLimitError,
  StackError,
  StreamError,
  TimeoutError,
  TooLargeError,
  UpstreamError,
} from '../../../src/index.js'
import { everythingOf, KEY } from '../../support/secrets.js'

const kinds = {
  AuthenticationError,
  InvalidRequestError,
  NotFoundError,
  PaymentRequiredError,
  PermissionError,
  RateLimitError,
  UpstreamError,
}

describe('upstreamError', () => {
  it.each([
    [400, 'InvalidRequestError', 'BAD_REQUEST', 400, false],
    [401, 'AuthenticationError', 'AUTH', 502, false],
    [402, 'PaymentRequiredError', 'PAYMENT', 503, false],
    [403, 'PermissionError', 'FORBIDDEN', 502, false],
    [404, 'NotFoundError', 'NOT_FOUND', 404, false],
    [408, 'UpstreamError', 'TIMEOUT', 504, true],
    [409, 'UpstreamError', 'SERVER', 502, true],
    [410, 'InvalidRequestError', 'BAD_REQUEST', 400, false],
    [423, 'UpstreamError', 'SERVER', 502, false],
    [424, 'UpstreamError', 'SERVER', 502, false],
    [425, 'UpstreamError', 'SERVER', 502, true],
    [499, 'UpstreamError', 'SERVER', 502, false],
    [529, 'UpstreamError', 'SERVER', 502, true],
    [422, 'InvalidRequestError', 'BAD_REQUEST', 422, false],
    [429, 'RateLimitError', 'RATE_LIMITED', 429, true],
    [500, 'UpstreamError', 'SERVER', 502, true],
    [502, 'UpstreamError', 'SERVER', 502, true],
    [503, 'UpstreamError', 'SERVER', 503, true],
    [504, 'UpstreamError', 'SERVER', 504, true],
    [520, 'UpstreamError', 'SERVER', 502, true],
    [524, 'UpstreamError', 'SERVER', 502, true],
  ] as const)(
    'turns %i into a %s with the code %s',
    (upstreamStatus, kind, code, status, retryable) => {
      const error = upstreamError({
        upstreamStatus,
        upstreamCode: 'SOME_CODE',
        requestId: 'req-1',
        headers: { 'x-cache': 'MISS' },
      })
      for (const [name, type] of Object.entries(kinds))
        expect([name, error instanceof type]).toEqual([name, name === kind])
      expect(error).toBeInstanceOf(BlossomError)
      expect(error).toBeInstanceOf(StackError)
      expect(error).toMatchObject({
        code,
        status,
        retryable,
        refused: false,
        upstreamStatus,
        upstreamCode: 'SOME_CODE',
        requestId: 'req-1',
      })
      expect(error.message).toMatch(
        new RegExp(`^Upstream answered ${upstreamStatus} \\(SOME_CODE\\): .+\\.$`),
      )
      expect(isStackError(error, code)).toBe(true)
      expect(error.toJSON()).toMatchObject({
        code,
        status,
        retryable,
        upstreamStatus,
        upstreamCode: 'SOME_CODE',
        requestId: 'req-1',
      })
      expect(JSON.parse(JSON.stringify(error)).message).toBe(error.message)
    },
  )

  it.each([402, 429, 502])(
    'reports an exhausted quota as a payment error, for %i',
    (upstreamStatus) => {
      const error = upstreamError({ upstreamStatus, upstreamCode: 'insufficient_quota' })
      expect(error).toBeInstanceOf(PaymentRequiredError)
      expect(error).not.toBeInstanceOf(RateLimitError)
      expect(error).toMatchObject({
        code: 'PAYMENT',
        status: 503,
        retryable: false,
        upstreamStatus,
      })
    },
  )

  it('makes the error non-retryable when upstream asks for that', () => {
    for (const upstreamStatus of [408, 409, 425, 429, 500, 503]) {
      expect(upstreamError({ upstreamStatus }).retryable).toBe(true)
      expect(upstreamError({ upstreamStatus, shouldRetry: false }).retryable).toBe(false)
    }
  })

  it('turns 429 into an error that is both the stack’s own rate limit and an upstream error', () => {
    const error = upstreamError({ upstreamStatus: 429, retryAfter: 2_000 })
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error).toBeInstanceOf(BlossomError)
    expect(error).not.toBeInstanceOf(UpstreamError)
    expect(error.retryAfter).toBe(2_000)
    expect(new RateLimitError('ours')).not.toBeInstanceOf(BlossomError)
  })

  it('keeps upstream’s own words out of all printed output', () => {
    for (const upstreamStatus of [400, 429, 500]) {
      const error = upstreamError({
        upstreamStatus,
        upstreamMessage: 'you said MARMALADE',
      }) as BlossomError
      expect(error.upstreamMessage).toBe('you said MARMALADE')
      expect(Object.keys(error)).not.toContain('upstreamMessage')
      expect(everythingOf(error)).not.toContain('MARMALADE')
      expect(inspect({ ...error })).not.toContain('MARMALADE')
    }
  })
})

describe('failureOf', () => {
  const messageOf = (message: string, apiKey = KEY) =>
    (failureOf(400, {}, JSON.stringify({ error: { message } }), apiKey) as BlossomError)
      .upstreamMessage

  it.each([
    [`the key ${KEY} is wrong`, 'the key [key] is wrong'],
    [`${KEY}${KEY}`, '[key][key]'],
    ['sk_another1234 and pk-another1234', '[key] and [key]'],
    ['authorization: Bearer abc.def', 'authorization: Bearer [key]'],
    ['authorization: bearer   abc', 'authorization: Bearer [key]'],
    ['task_force and ask_me', 'task_force and ask_me'],
  ])('redacts keys in %j', (said, kept) => {
    expect(messageOf(said)).toBe(kept)
  })

  it('redacts the key in use, even one with special characters', () => {
    expect(messageOf('a+b*c(d', 'a+b*c(d')).toBe('[key]')
  })

  it('shortens long upstream messages', () => {
    expect(messageOf('x'.repeat(10_000))).toHaveLength(500)
  })

  it.each([
    [{ error: { code: 'RATE_LIMITED' } }, 'RATE_LIMITED'],
    [{ error: { code: 'model_not_found', type: 'other' } }, 'model_not_found'],
    [{ error: { type: 'server_error' } }, 'server_error'],
    [{ error: 'concurrency_limit_exceeded', message: 'x' }, 'concurrency_limit_exceeded'],
    [{ error: 'UNAUTHORIZED' }, 'UNAUTHORIZED'],
    [{ error: 'Rate limit exceeded' }, undefined],
    [{ error: 'marmalade' }, undefined],
    [{ error: { code: 'two words' } }, undefined],
    [{ error: { code: 5 } }, undefined],
    [{ error: { code: KEY } }, undefined],
    [{ error: KEY }, undefined],
    [{ code: 'OUTSIDE' }, undefined],
    ['text', undefined],
  ])('reads from %j the code %s', (body, code) => {
    expect((failureOf(500, {}, JSON.stringify(body), KEY) as BlossomError).upstreamCode).toBe(code)
  })

  it.each([
    [{ error: { message: 'Too long.', param: 'messages[0].content' } }, 'messages[0].content'],
    [{ error: { message: 'Too long.', param: 'not a field' } }, undefined],
    [{ error: { message: 'Too long.', param: 7 } }, undefined],
    [{ object: 'error', message: 'Too long.', param: 'max_tokens', code: 400 }, 'max_tokens'],
    [[{ error: { message: 'Too long.', param: 'n' } }], 'n'],
    [{ error: { message: 'Too long.', details: { field: 'prompt' } } }, 'prompt'],
    [{ errors: [{ message: 'Too long.' }] }, undefined],
    [{ detail: 'Too long.' }, undefined],
    [{ detail: [{ msg: 'Too long.', loc: ['body'] }] }, undefined],
    [{ error: 'BAD_REQUEST', message: 'Too long.' }, undefined],
  ])('finds the message and the field wherever an error holds them: %j', (body, param) => {
    const error = failureOf(400, {}, `\ufeff${JSON.stringify(body)}`, KEY) as BlossomError
    expect(error.upstreamMessage).toBe('Too long.')
    expect(error.upstreamParam).toBe(param)
    // The message says where to look.
    expect(error.message.includes(`See the field "${param}".`)).toBe(param !== undefined)
  })

  it.each([
    ['false', false],
    ['FALSE', false],
    ['true', true],
    ['x', true],
  ])('retries according to x-should-retry: %s: %s', (header, retryable) => {
    expect(failureOf(503, { 'x-should-retry': header }, '', KEY).retryable).toBe(retryable)
  })

  it.each([
    ['req-1', 'req-1'],
    ['a:b.c-d_e', 'a:b.c-d_e'],
    ['two words', undefined],
    ['x'.repeat(129), undefined],
    ['<script>', undefined],
    [KEY, undefined],
  ])('reads the request id %j as %j', (id, expected) => {
    expect((failureOf(500, { 'x-request-id': id }, '', KEY) as BlossomError).requestId).toBe(
      expected,
    )
    expect(
      (failureOf(500, {}, JSON.stringify({ error: { requestId: id } }), KEY) as BlossomError)
        .requestId,
    ).toBe(expected)
  })

  it('uses the first value of a repeated header', () => {
    expect(
      (failureOf(500, { 'x-request-id': ['a', 'b'] }, '', undefined) as BlossomError).requestId,
    ).toBe('a')
  })
})

describe('failureInside', () => {
  it.each([
    [{ error: { code: 401 } }, 401],
    [{ error: { status: 429 } }, 429],
    [{ status: 503, error: 'x' }, 503],
    [{ error: { code: 'x' } }, 502],
    [{ error: { code: 200 } }, 502],
    [{ error: { code: 9_999 } }, 502],
    [{ error: { code: 404.5 } }, 502],
    [{ error: { code: '429' } }, 429],
    [{ error: { code: 'rate_limit_exceeded' } }, 429],
    [{ error: { code: 'constructor' } }, 502],
    [{ error: 'RATE_LIMITED' }, 429],
    [{ object: 'error', code: 404, message: 'x' }, 404],
    [undefined, 502],
    ['text', 502],
  ])('reads the status of %j as %i', (data, status) => {
    expect(failureInside(data, {}, undefined)).toMatchObject({ upstreamStatus: status })
  })
})

describe('errorInside', () => {
  const choice = { index: 0, message: { content: 'Hi.' }, finish_reason: 'stop' }
  const failed = { index: 0, delta: {}, finish_reason: 'error', error: { code: 429 } }
  it.each([
    [{ choices: [failed] }, 429],
    [{ choices: [{ ...failed, error: undefined }], error: { code: 503 } }, 503],
    [{ choices: [{ ...failed, error: undefined }] }, 502],
    [{ choices: [choice, { ...failed, index: 1 }] }, 429],
    [{ choices: [{ ...choice, error: { code: 'x', message: 'Broke.' } }] }, 502],
    [{ choices: null, error: 'RATE_LIMITED' }, 429],
    [{ choices: [], error: true }, 502],
    [{ choices: [choice], error: { message: 'Broke.' } }, 502],
    [[{ error: { code: 503 } }], 503],
    [{ object: 'error', message: 'Gone.', code: 404 }, 404],
    [{ error: {} }, 502],
  ])('finds the error in %j, for %i', (data, upstreamStatus) => {
    expect(errorInside(data, {}, undefined)).toMatchObject({ upstreamStatus })
  })

  it.each([
    [{ choices: [choice] }],
    [{ choices: [choice], error: {} }],
    [{ choices: [choice], error: null }],
    [{ choices: [{ ...choice, error: null }], error: '' }],
    [{ choices: [{ ...choice, error: {} }] }],
    [{ data: [1], error: 'x' }],
    [{ choices: null }],
    [[1, 2]],
    [[]],
    ['text'],
    [null],
  ])('finds no error in %j', (data) => {
    expect(errorInside(data, {}, undefined)).toBeUndefined()
  })
})

describe('networkFailure', () => {
  const ORIGIN = 'https://upstream.example:8443'
  const failed = (code: string | undefined, message = 'm') =>
    networkFailure(Object.assign(new Error(message), { code }), ORIGIN)
  it.each([
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'ENOTFOUND',
    'EAI_AGAIN',
    'EHOSTUNREACH',
    'UND_ERR_SOCKET',
    'EPROTO',
    undefined,
  ])('turns %s into a retryable network error with its cause', (code) => {
    const error = failed(code)
    expect(error).toBeInstanceOf(NetworkError)
    expect(error).toMatchObject({ code: 'NETWORK', status: 502, retryable: true, cause: { code } })
  })

  it.each([
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'CERT_HAS_EXPIRED',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ])('does not retry after an invalid certificate: %s', (code) => {
    expect(failed(code)).toMatchObject({ code: 'NETWORK', retryable: false })
  })

  it('names the host and what to check', () => {
    expect(failed('ENOTFOUND').message).toBe(
      'No answer arrived from upstream.example:8443 (ENOTFOUND): the connection could not be made, or it broke. Check the network and option "baseURL".',
    )
    expect(failed('CERT_HAS_EXPIRED').message).toBe(
      'The TLS connection to upstream.example:8443 failed (CERT_HAS_EXPIRED). Check its certificate.',
    )
  })

  it.each(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])(
    'turns %s into a time-out',
    (code) => {
      expect(failed(code)).toBeInstanceOf(TimeoutError)
      expect(failed(code).message).not.toContain('0 ms')
    },
  )

  it('gives a closed pool the code CLOSED', () => {
    expect(failed('UND_ERR_DESTROYED')).toMatchObject({ code: 'CLOSED' })
    expect(failed('UND_ERR_CLOSED')).toMatchObject({ code: 'CLOSED' })
  })

  it('does not retry when headers are too large', () => {
    expect(failed('UND_ERR_HEADERS_OVERFLOW')).toMatchObject({ code: 'PROTOCOL', retryable: false })
  })

  it('keeps the bytes that a parser rejects out of the cause', () => {
    const parser = Object.assign(new Error('Response does not match'), {
      name: 'HTTPParserError',
      code: 'HPE_INVALID',
      data: KEY,
    })
    const error = networkFailure(parser, ORIGIN)
    expect(error).toBeInstanceOf(ProtocolError)
    expect(everythingOf(error)).not.toContain(KEY)
    expect(error.cause).toMatchObject({ message: 'Response does not match' })
  })

  it.each([undefined, null, 'text', {}, { code: 5 }])(
    'handles values that are not errors: %j',
    (thrown) => {
      expect(networkFailure(thrown, ORIGIN)).toMatchObject({ code: 'NETWORK' })
    },
  )
})

describe('StreamError', () => {
  it('carries the partial answer without printing it', () => {
    const error = new StreamError('It broke.', {
      cause: new Error('why'),
      text: 'MARMALADE',
      usage: { a: 1 },
      chunks: ['MARMALADE'],
    })
    expect([error.text, error.usage, error.chunks]).toEqual(['MARMALADE', { a: 1 }, ['MARMALADE']])
    expect(everythingOf(error)).not.toContain('MARMALADE')
    expect(error).toMatchObject({ code: 'STREAM', status: 502, retryable: false, refused: false })
  })
})

describe('two copies of the module', () => {
  it('recognise each other’s errors with instanceof', async () => {
    vi.resetModules()
    const copy = await import('../../../src/client/errors.js')
    const wire = await import('../../../src/client/wire/upstream-error.js')
    const core = await import('../../../src/core/errors.js')
    expect(copy.BlossomError).not.toBe(BlossomError)
    for (const upstreamStatus of [401, 429, 500]) {
      const error = wire.upstreamError({ upstreamStatus })
      expect(Object.prototype.isPrototypeOf.call(StackError.prototype, error)).toBe(false)
      expect(error).toBeInstanceOf(BlossomError)
      expect(error).toBeInstanceOf(StackError)
      expect(isStackError(error)).toBe(true)
      expect(error instanceof RateLimitError).toBe(upstreamStatus === 429)
      expect(error instanceof AuthenticationError).toBe(upstreamStatus === 401)
      expect(upstreamError({ upstreamStatus })).toBeInstanceOf(copy.BlossomError)
      expect(upstreamError({ upstreamStatus })).toBeInstanceOf(core.StackError)
    }
    expect(new copy.StreamError('x')).toBeInstanceOf(StreamError)
    expect(new copy.TooLargeError('x', { status: 413 })).toBeInstanceOf(TooLargeError)
    expect(new copy.StreamError('x')).not.toBeInstanceOf(BlossomError)
  })

  it('do not recognise a built-in error as a user’s own subclass', () => {
    class Mine extends UpstreamError {}
    const theirs = upstreamError({ upstreamStatus: 500 })
    expect(theirs).toBeInstanceOf(UpstreamError)
    expect(theirs instanceof Mine).toBe(false)
    const mine = new Mine('x', { code: 'SERVER', status: 502, upstreamStatus: 500 })
    expect(mine).toBeInstanceOf(Mine)
    expect(mine).toBeInstanceOf(BlossomError)
  })
})

describe('options that are undefined', () => {
  it.each([
    ['NetworkError', new NetworkError('m'), new NetworkError('m', { retryable: undefined })],
    ['ProtocolError', new ProtocolError('m'), new ProtocolError('m', { retryable: undefined })],
    [
      'StreamError',
      new StreamError('m'),
      new StreamError('m', { text: undefined, chunks: undefined }),
    ],
    [
      'TooLargeError',
      new TooLargeError('m', { status: 413 }),
      new TooLargeError('m', { status: 413, refused: undefined }),
    ],
  ])('count as omitted: %s', (_name, without, withUndefined) => {
    expect(withUndefined.toJSON()).toEqual(without.toJSON())
    expect(inspect(withUndefined.cause)).toBe(inspect(without.cause))
  })
})
