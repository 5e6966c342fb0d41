import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  ConfigError,
  createBlossom,
  isStackError,
  stack,
  ValidationError,
} from '../../src/index.js'
import { catchWarnings } from '../support/warnings.js'
import { failure } from '../support/watch.js'
import { type Anything, CALL_OPTIONS, factories, optionsOf } from './factories.js'

beforeEach(() => void catchWarnings())
afterEach(() => void vi.restoreAllMocks())

/** Options that count something: each with the fields below which it lies, if it does. */
const numeric: Record<string, string[]> = {
  timeout: ['ms', 'streamMs', 'firstTokenMs', 'idleMs'],
  retry: [
    'retries',
    'minDelayMs',
    'maxDelayMs',
    'maxRetryAfterMs',
    'budget.ratio',
    'budget.floor',
    'budget.windowMs',
  ],
  fallback: [],
  hedge: [
    'delayMs',
    'minDelayMs',
    'maxDelayMs',
    'budget.size',
    'budget.start',
    'budget.perSuccess',
  ],
  breaker: ['failureRate', 'minimumCalls', 'windowMs', 'resetMs', 'trials', 'slowMs', 'slowRate'],
  queue: ['concurrency', 'maxWaiting', 'maxWaitMs'],
  pool: ['connections', 'maxWaiting', 'members.weight'],
  cache: ['ttlMs', 'staleMs', 'maxEntries', 'maxBytes', 'storeTimeoutMs'],
  dedupe: [],
  batcher: ['maxItems', 'maxDelayMs'],
  rateLimit: [
    'requests.limit',
    'requests.intervalMs',
    'requests.burst',
    'tokens.limit',
    'cost.limit',
    'cost.per',
    'maxWaiting',
    'maxWaitMs',
  ],
  chaos: [
    'failRate',
    'rateLimitRate',
    'retryAfterMs',
    'hangRate',
    'delayMs',
    'cutRate',
    'stallRate',
    'afterChunks',
    'chunkDelayMs',
    'seed',
  ],
  createBlossom: ['maxResponseBytes'],
  createBatches: ['concurrency', 'expireMs', 'keepMs', 'stalledMs'],
  instrument: [],
  prometheus: [],
  base: ['unreadMs'],
}
const others: Record<string, string[]> = {
  retry: ['when', 'accept', 'onRetry', 'random'],
  fallback: ['to', 'when', 'accept'],
  hedge: ['to'],
  breaker: ['key', 'counts', 'onStateChange', 'initialState', 'shared'],
  queue: ['fairness', 'weights', 'gate', 'shared'],
  pool: ['gate', 'affinity'],
  cache: ['store', 'shared', 'key'],
  dedupe: ['shared'],
  chaos: ['error'],
  rateLimit: ['mode', 'by', 'countTokens', 'shared', 'exact'],
  createBatches: ['shared', 'directory'],
  instrument: ['tracer', 'meter', 'semconv', 'captureContent', 'propagate'],
  prometheus: ['labels'],
  createBlossom: [
    'apiKey',
    'baseURL',
    'headers',
    'dispatcher',
    'userAgent',
    'notices',
    'layers',
    'onEvent',
    'price',
  ],
  base: [
    'streams',
    'key',
    'model',
    'withModel',
    'fromValue',
    'joins',
    'conversation',
    'weigh',
    'usage',
    'operation',
    'reports',
    'price',
    'ownKey',
    'commits',
    'complete',
    'valid',
    'toStream',
    'variant',
    'replay',
    'fromStream',
    'split',
    'merge',
    'divide',
    'onEvent',
  ],
}

const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
const refusing = () => {
  throw new Error('on purpose')
}
/** An object of which nothing can be read. */
const unreadable = () =>
  new Proxy(
    {},
    {
      get: refusing,
      has: refusing,
      ownKeys: refusing,
      getPrototypeOf: refusing,
      getOwnPropertyDescriptor: refusing,
    },
  )

const notNumbers: [string, Anything][] = [
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['a number in text', '5'],
  ['an empty text', ''],
  ['a bigint', 5n],
  ['a symbol', Symbol('s')],
  ['true', true],
  ['null', null],
  ['an empty list', []],
  ['a list', [5]],
  ['an object', {}],
  ['an object with a value', { valueOf: () => 5 }],
  ['a boxed number', new Number(5)],
  ['a date', new Date(5)],
  ['a revoked proxy', revoked()],
  ['a proxy that throws', unreadable()],
]

/** A value that fast-check must not look into: some throw at it. */
class Wrapped {
  readonly #value: Anything
  constructor(value: Anything) {
    this.#value = value
  }
  static unwrap(value: unknown): Anything {
    return value instanceof Wrapped ? value.#value : value
  }
}
const oddly = (...more: Anything[]) =>
  fc.constantFrom(
    ...[...notNumbers.map(([, value]) => value), ...more].map((value) => new Wrapped(value)),
  )

/** What was drawn, without its wrappings: at the top and one level below. */
function unwrapped(drawn: unknown): Anything {
  const value = Wrapped.unwrap(drawn)
  if (value !== drawn || typeof value !== 'object' || value === null || Array.isArray(value))
    return value
  const proto = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [name, Wrapped.unwrap(field)]),
  )
}

/** What an object of options needs beside the one in question. */
const BESIDE: Readonly<Record<string, object>> = {
  requests: { limit: 1 },
  cost: { limit: 1, per: 'day', price: () => 1 },
}

/** Options with one value, at the place that a dotted name tells. */
function withValue(name: string, value: Anything, required: object = {}): Anything {
  const [outer = '', inner] = name.split('.')
  // Without its `ms` a time limit is refused first.
  if (inner === undefined) return { ...(outer.endsWith('Ms') && required), [outer]: value }
  if (outer === 'members') return { members: [{ [inner]: value }] }
  return { [outer]: { ...BESIDE[outer], [inner]: value } }
}

function refusal(make: () => unknown): ConfigError {
  try {
    make()
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return error as ConfigError
  }
  throw new Error('Expected a ConfigError.')
}

describe.each(Object.keys(factories))('%s', (name) => {
  const make = factories[name] as (options: Anything) => unknown

  const required = name === 'timeout' ? { ms: 1 } : {}

  it('has no option that these tests miss', () => {
    const known = new Set(
      [...(numeric[name] ?? []), ...(others[name] ?? []), 'name'].map(
        (one) => one.split('.', 1)[0],
      ),
    )
    expect(optionsOf(name).filter((option) => !known.has(option))).toEqual([])
  })

  for (const option of numeric[name] ?? []) {
    it.each(notNumbers)(`refuses %s as ${option}`, (_what, value) => {
      const { message, layer } = refusal(() => make(withValue(option, value, required)))
      expect(message).toMatch(
        new RegExp(`^${name}: option "${option.split('.').at(-1)}" must be .+\\.$`),
      )
      expect(layer ?? name).toBe(name)
      expect(message).not.toMatch(/on purpose|proxy/)
    })
    if (option !== 'seed') {
      it(`refuses a negative ${option}`, () => {
        expect(refusal(() => make(withValue(option, -1, required))).message).toContain(
          `option "${option.split('.').at(-1)}" must be `,
        )
      })
    }
  }

  for (const option of others[name] ?? []) {
    it(`refuses an unreadable value as ${option}`, () => {
      for (const value of [revoked(), unreadable()]) {
        expect(refusal(() => make({ [option]: value })).message).toContain(
          `option "${option}" must `,
        )
      }
    })
  }

  it('refuses options that cannot be read', () => {
    for (const options of [revoked(), unreadable()])
      expect(refusal(() => make(options)).message).toContain(`${name}: options must be`)
    const [option = ''] = optionsOf(name)
    const guarded = Object.defineProperty({}, option, { get: refusing, enumerable: true })
    expect(refusal(() => make(guarded)).message).toMatch(
      new RegExp(`^${name}: option "${option}" must be .+; reading it threw an error\\.$`),
    )
  })

  it.each(['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty'])(
    'refuses the option %s',
    (option) => {
      const options = JSON.parse(`{${JSON.stringify(option)}:{"polluted":true}}`)
      expect(refusal(() => make(options)).message).toContain(`option "${option}" is unknown`)
      expect(({} as Anything).polluted).toBeUndefined()
    },
  )

  it('works or names the wrong option, whatever it is given', () => {
    const names = [...optionsOf(name), 'nonsense', '__proto__']
    const odd = oddly(() => 1, class {}, Object.freeze({}), new Map([['a', 1]]), /x/)
    const value = fc.oneof(
      { weight: 3, arbitrary: odd },
      {
        weight: 1,
        arbitrary: fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withNullPrototype: true,
          withTypedArray: true,
        }),
      },
      { weight: 2, arbitrary: fc.double() },
      { weight: 2, arbitrary: fc.integer({ min: -2, max: 100 }) },
    )
    const options = fc.oneof(
      { weight: 6, arbitrary: fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 4 }) },
      { weight: 1, arbitrary: value },
    )
    fc.assert(
      fc.property(options, (drawn) => {
        try {
          make(unwrapped(drawn))
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error
          expect(error.message).toMatch(new RegExp(`^${name}: .+[.?]$`, 's'))
          expect(error.message.length).toBeLessThan(600)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('a created object', () => {
  it('keeps its original options when the options object changes later', async () => {
    const budget = { ratio: 0, floor: 0, windowMs: 10_000 }
    const options = { retries: 1, minDelayMs: 0, budget }
    let calls = 0
    const layer = factories.retry!(options) as never
    Object.assign(options, { retries: 50 })
    Object.assign(budget, { ratio: 1, floor: 1_000 })
    await failure(stack(async () => Promise.reject(new Error(`${++calls}`)), layer)())
    expect(calls).toBe(1)
  })

  it('takes frozen options, options without a prototype, and a class that has its options as fields or getters', () => {
    class Options {
      retries = 1
      get minDelayMs() {
        return 0
      }
    }
    for (const options of [
      Object.freeze({ retries: 1 }),
      Object.assign(Object.create(null), { retries: 1 }),
      new Options(),
    ]) {
      expect(() => factories.retry!(options)).not.toThrow()
    }
  })

  it('refuses headers that would be ignored: a Headers, a Map, an instance', () => {
    class Tags {
      get tag() {
        return 'x'
      }
    }
    for (const headers of [
      new Headers({ 'x-tag': '1' }),
      new Map([['x-tag', '1']]),
      new Tags(),
      new URLSearchParams('x-tag=1'),
    ]) {
      expect(refusal(() => createBlossom({ headers: headers as never })).message).toContain(
        'option "headers" must be a plain object',
      )
    }
    expect(() =>
      createBlossom({ headers: Object.assign(Object.create(null), { 'x-tag': '1' }) }),
    ).not.toThrow()
  })

  it('refuses a frozen store, because Keyv writes to it', () => {
    expect(refusal(() => factories.cache!({ store: Object.freeze(new Map()) })).message).toContain(
      'option "store" must be',
    )
  })
})

describe('the options of a call', () => {
  const ask = stack(async () => 'ok')
  const call = (options: Anything) => ask(undefined, options)
  const blossom = createBlossom({ baseURL: 'http://127.0.0.1:9' })

  it.each(['timeoutMs', 'deadline', 'priority'])(
    'refuse anything but a number as %s',
    async (option) => {
      for (const [what, value] of notNumbers) {
        // A deadline may be far away on either side.
        if (option === 'deadline' && typeof value === 'number' && !Number.isNaN(value)) continue
        const error = await failure(call({ [option]: value }))
        expect([
          what,
          isStackError(error, 'VALIDATION'),
          (error as Error).message.includes(`"${option}"`),
        ]).toEqual([what, true, true])
      }
    },
  )

  it.each(['signal', 'tenant', 'cache', 'meta'])(
    'refuse an unreadable value as %s',
    async (option) => {
      for (const value of [revoked(), unreadable(), Symbol('s'), 5n])
        expect(isStackError(await failure(call({ [option]: value })), 'VALIDATION')).toBe(true)
    },
  )

  it('refuse an options object that cannot be read', async () => {
    for (const options of [revoked(), unreadable()]) {
      expect(isStackError(await failure(call(options)), 'VALIDATION')).toBe(true)
      expect(isStackError(await failure(blossom.text.generate('x', options)), 'VALIDATION')).toBe(
        true,
      )
      expect(isStackError(await failure(blossom.models.list(options)), 'VALIDATION')).toBe(true)
      expect(
        isStackError(await failure(blossom.text.batch(['x'], options).next()), 'VALIDATION'),
      ).toBe(true)
    }
  })

  it('settle as an answer or a refusal, whatever they are', async () => {
    const names = [...CALL_OPTIONS, 'nonsense', '__proto__', 'derive']
    const value = fc.oneof(oddly(), fc.anything(), fc.double({ min: 1 }))
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 3 }), value),
        async (drawn) => {
          const ended = await call(unwrapped(drawn)).catch((error: unknown) => error)
          if (ended === 'ok') return
          // A deadline in the past is kept.
          expect(ended instanceof ValidationError || isStackError(ended, 'TIMEOUT')).toBe(true)
        },
      ),
      { numRuns: 500 },
    )
    await ask.close({ timeoutMs: 600_000 })
  })

  it.each(notNumbers)('close() refuses %s as its limit', (_what, value) => {
    const open = stack(async () => 'ok')
    expect(refusal(() => open.close({ timeoutMs: value })).message).toContain(
      'close: option "timeoutMs" must be',
    )
  })
})
