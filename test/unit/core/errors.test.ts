import { inspect } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import * as ours from '../../../src/core/errors.js'
import {
  BreakerOpenError,
  BudgetError,
  ClosedError,
  ConfigError,
  isStackError,
  QueueFullError,
  RateLimitError,
  StackError,
  TimeoutError,
  ValidationError,
} from '../../../src/core/errors.js'

vi.resetModules()
const theirs: typeof ours = await import('../../../src/core/errors.js')

const samples = [
  {
    make: (from: typeof ours) => new from.ConfigError('m'),
    kind: 'ConfigError',
    code: 'CONFIG',
    status: 500,
    retryable: false,
    refused: true,
  },
  {
    make: (from: typeof ours) => new from.ValidationError('m'),
    kind: 'ValidationError',
    code: 'VALIDATION',
    status: 400,
    retryable: false,
    refused: true,
  },
  {
    make: (from: typeof ours) => new from.TimeoutError(5),
    kind: 'TimeoutError',
    code: 'TIMEOUT',
    status: 504,
    retryable: true,
    refused: false,
  },
  {
    make: (from: typeof ours) => new from.QueueFullError(3),
    kind: 'QueueFullError',
    code: 'QUEUE_FULL',
    status: 503,
    retryable: false,
    refused: true,
  },
  {
    make: (from: typeof ours) => new from.BreakerOpenError(7),
    kind: 'BreakerOpenError',
    code: 'BREAKER_OPEN',
    status: 503,
    retryable: false,
    refused: true,
  },
  {
    make: (from: typeof ours) => new from.ClosedError(),
    kind: 'ClosedError',
    code: 'CLOSED',
    status: 503,
    retryable: false,
    refused: true,
  },
  {
    make: (from: typeof ours) => new from.RateLimitError('m'),
    kind: 'RateLimitError',
    code: 'RATE_LIMITED',
    status: 429,
    retryable: true,
    refused: false,
  },
  {
    make: (from: typeof ours) => new from.BudgetError('m', { retryAfter: 5 }),
    kind: 'BudgetError',
    code: 'BUDGET',
    status: 402,
    retryable: false,
    refused: true,
  },
] as const

const classes = {
  ConfigError,
  ValidationError,
  TimeoutError,
  QueueFullError,
  BreakerOpenError,
  ClosedError,
  RateLimitError,
  BudgetError,
}

describe.each(samples)('$kind', ({ make, kind, code, status, retryable, refused }) => {
  it('carries its code, its status and what a layer may do about it', () => {
    expect(make(ours)).toMatchObject({ code, status, retryable, refused })
  })

  it('is an Error and a StackError under its own name', () => {
    const error = make(ours)
    expect(error).toBeInstanceOf(Error)
    expect(error).toBeInstanceOf(StackError)
    expect(error.name).toBe(kind)
    expect(String(error)).toBe(`${kind}: ${error.message}`)
    expect(error.stack?.split('\n')[0]).toBe(`${kind}: ${error.message}`)
  })

  it('is an instance of its own class only', () => {
    const error = make(ours)
    expect(
      Object.keys(classes).filter((name) => error instanceof classes[name as keyof typeof classes]),
    ).toEqual([kind])
  })

  it('is recognised across two copies of the library', () => {
    const foreign = make(theirs)
    expect(Object.getPrototypeOf(foreign)).not.toBe(classes[kind].prototype)
    expect(foreign).toBeInstanceOf(StackError)
    expect(
      Object.keys(classes).filter(
        (name) => foreign instanceof classes[name as keyof typeof classes],
      ),
    ).toEqual([kind])
    expect(isStackError(foreign, code)).toBe(true)
  })

  it('can be restored from its JSON', () => {
    const error = make(ours)
    for (const json of [structuredClone(error.toJSON()), JSON.parse(JSON.stringify(error))]) {
      const restored = StackError.from(json)
      expect(restored).toBeInstanceOf(classes[kind])
      expect(isStackError(restored, code)).toBe(true)
      expect(restored.toJSON()).toEqual(error.toJSON())
      expect(restored).toMatchObject({ ...error.toJSON() })
      expect(String(restored)).toBe(String(error))
    }
  })

  it('turns into JSON without stack and cause', () => {
    const error = make(ours)
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: kind,
      code,
      status,
      message: error.message,
      retryable,
      refused,
      ...only(error),
    })
  })
})

const only = (error: StackError) => ({
  ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
  ...(error instanceof TimeoutError && { ms: error.ms, phase: error.phase }),
})

describe('StackError.from', () => {
  it('restores the fields specific to the class', () => {
    const error = new TimeoutError(9, { phase: 'read', layer: 'timeout' })
    const restored = StackError.from(structuredClone(error.toJSON()))
    expect(restored).toMatchObject({ ms: 9, phase: 'read', layer: 'timeout', retryable: false })
  })

  it.each([
    undefined,
    null,
    'TIMEOUT',
    {},
    [],
    new Error('x'),
    structuredClone(new TimeoutError(5)),
    { name: 'TimeoutError', code: 'TIMEOUT', message: 'm' },
    { name: 'TimeoutError', code: 'TIMEOUT', message: 'm', status: 504, retryAfter: 'soon' },
  ])('refuses %o, which is not the JSON of an error', (json) => {
    expect(() => StackError.from(json)).toThrow(ValidationError)
  })
})

describe('StackError', () => {
  it('keeps cause, layer and retryAfter', () => {
    const cause = new Error('below')
    const error = new StackError('m', {
      code: 'SERVER',
      status: 502,
      retryAfter: 250,
      layer: 'pool',
      cause,
    })
    expect(error).toMatchObject({
      retryAfter: 250,
      layer: 'pool',
      retryable: false,
      refused: false,
    })
    expect(error.cause).toBe(cause)
  })

  it('has no own cause property unless one is given', () => {
    expect(Object.hasOwn(new ClosedError(), 'cause')).toBe(false)
    expect(
      Object.hasOwn(
        new StackError('m', { code: 'SERVER', status: 502, cause: undefined }),
        'cause',
      ),
    ).toBe(true)
  })

  it('shows nothing of its cause in its message, JSON or string', () => {
    const error = new StackError('The call failed.', {
      code: 'SERVER',
      status: 502,
      cause: new Error('sk_secret'),
    })
    expect(
      `${error.message} ${JSON.stringify(error)} ${String(error)} ${error.stack}`,
    ).not.toContain('sk_secret')
  })

  it('hides its internal fields for name and kinds when inspected', () => {
    const text = inspect(new ClosedError())
    expect(text).toContain("code: 'CLOSED'")
    expect(text).not.toContain('error-kinds')
  })

  it('can be renamed', () => {
    const error = new ClosedError()
    error.name = 'Renamed'
    expect(error.name).toBe('Renamed')
    expect(new ClosedError().name).toBe('ClosedError')
  })

  it.each([
    null,
    undefined,
    'text',
    5,
    {},
    new Error('plain'),
    new DOMException('x', 'AbortError'),
    { code: 'TIMEOUT' },
  ])('does not count %o as an instance', (value) => {
    expect(value instanceof StackError).toBe(false)
    expect(value instanceof TimeoutError).toBe(false)
  })

  it('does not count an object that merely looks like one as an instance', () => {
    const lookalike = { [Symbol.for('blossom-stack.error-kinds')]: 'StackError' }
    expect(lookalike instanceof StackError).toBe(false)
  })
})

describe("a user's own subclass", () => {
  class MyTimeout extends TimeoutError {}
  class MyKind extends StackError {
    static override readonly kind = 'MyKind'
  }
  class SecondKind extends StackError {
    static override readonly kind = 'MyKind'
  }

  it('does not count the errors of the library as its instances', () => {
    expect(new TimeoutError(1)).not.toBeInstanceOf(MyTimeout)
    expect(new theirs.TimeoutError(1)).not.toBeInstanceOf(MyTimeout)
    expect(new ClosedError()).not.toBeInstanceOf(MyKind)
  })

  it('has instances that are library errors too, in every copy', () => {
    const error = new MyTimeout(1)
    expect(error).toBeInstanceOf(MyTimeout)
    expect(error).toBeInstanceOf(TimeoutError)
    expect(error).toBeInstanceOf(theirs.TimeoutError)
    expect(error).not.toBeInstanceOf(ClosedError)
    expect(error.name).toBe('TimeoutError')
  })

  it('has its own name and recognises its copies when it declares a kind', () => {
    const error = new MyKind('m', { code: 'SERVER', status: 502 })
    expect(error.name).toBe('MyKind')
    expect(error).toBeInstanceOf(SecondKind)
  })
})

describe('isStackError', () => {
  it('recognises every error of the library, or only those of one code', () => {
    const error = new TimeoutError(5)
    expect(isStackError(error)).toBe(true)
    expect(isStackError(error, 'TIMEOUT')).toBe(true)
    expect(isStackError(error, 'CLOSED')).toBe(false)
    expect(isStackError(new theirs.TimeoutError(5), 'TIMEOUT')).toBe(true)
  })

  it('rejects an object that merely carries a code', () => {
    expect(isStackError(Object.assign(new Error('x'), { code: 'TIMEOUT' }), 'TIMEOUT')).toBe(false)
    expect(isStackError(undefined)).toBe(false)
  })
})

describe('TimeoutError', () => {
  it.each([
    ['total', /not complete within 1500 ms/, true, false],
    ['first-token', /first token did not arrive within 1500 ms/, true, false],
    ['idle', /sent nothing for 1500 ms/, true, false],
    ['queue', /waited 1500 ms for its turn/, false, true],
    ['read', /nobody started to read it within 1500 ms/, false, false],
  ] as const)('states phase %s and the duration', (phase, sentence, retryable, refused) => {
    const error = new TimeoutError(1499.6, { phase })
    expect(error.message).toMatch(sentence)
    expect(error).toMatchObject({ ms: 1500, phase, retryable, refused })
  })

  it('covers the whole answer by default, and names its layer', () => {
    expect(new TimeoutError(5, { layer: 'attempt' })).toMatchObject({
      phase: 'total',
      layer: 'attempt',
    })
  })
})

describe('QueueFullError', () => {
  it('states the limit', () => {
    const error = new QueueFullError(10, { retryAfter: 40, layer: 'queue' })
    expect(error).toMatchObject({ limit: 10, retryAfter: 40, layer: 'queue' })
    expect(error.message).toContain('(maxWaiting: 10) is reached')
  })
})

describe('BreakerOpenError', () => {
  it('states when to retry, in milliseconds rounded up', () => {
    const error = new BreakerOpenError(1200.4, { layer: 'breaker' })
    expect(error.retryAfter).toBe(1201)
    expect(error.message).toContain('1201 ms')
  })
})

describe('ClosedError', () => {
  it('distinguishes a call that ran from one that never did', () => {
    expect(new ClosedError().refused).toBe(true)
    expect(new ClosedError('Cut.', { refused: false }).refused).toBe(false)
  })
})

describe('RateLimitError', () => {
  it('fixes its code and status, and lets the other fields be set', () => {
    expect(
      new RateLimitError('Slow down.', { refused: true, retryable: false, retryAfter: 9 }),
    ).toMatchObject({
      code: 'RATE_LIMITED',
      status: 429,
      refused: true,
      retryable: false,
      retryAfter: 9,
    })
  })
})

describe('RateLimitError of a limit', () => {
  it('states the amount and the unit of the limit, in its JSON too', () => {
    const error = new RateLimitError('Slow down.', { limit: 60, unit: 'requests' })
    expect(error).toMatchObject({ limit: 60, unit: 'requests' })
    expect(error.toJSON()).toMatchObject({ limit: 60, unit: 'requests' })
    expect(StackError.from(structuredClone(error.toJSON()))).toMatchObject({
      limit: 60,
      unit: 'requests',
    })
  })

  it('leaves both out when they are unknown', () => {
    const error = new RateLimitError('Slow down.')
    expect([error.limit, error.unit]).toEqual([undefined, undefined])
    expect(JSON.stringify(error)).not.toContain('limit')
  })
})

describe('options that are undefined', () => {
  it.each([
    [
      'ClosedError',
      new ClosedError('m'),
      new ClosedError('m', { refused: undefined, layer: undefined }),
    ],
    [
      'RateLimitError',
      new RateLimitError('m'),
      new RateLimitError('m', {
        retryable: undefined,
        refused: undefined,
        retryAfter: undefined,
        limit: undefined,
        unit: undefined,
      }),
    ],
    [
      'TimeoutError',
      new TimeoutError(5),
      new TimeoutError(5, { phase: undefined, layer: undefined }),
    ],
    [
      'StackError',
      new StackError('m', { code: 'SERVER', status: 500 }),
      new StackError('m', {
        code: 'SERVER',
        status: 500,
        retryable: undefined,
        refused: undefined,
        retryAfter: undefined,
      }),
    ],
  ])('count as left out: %s', (_name, without, withUndefined) => {
    expect(withUndefined.toJSON()).toEqual(without.toJSON())
  })
})
