import { describe, expect, it } from 'vitest'
import { ConfigError, check, rules, ValidationError } from '../../../src/core/index.js'

const sentence = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  throw new Error('Expected a ConfigError.')
}

interface Options {
  retries: number
  delayMs: number
  ratio: number
  order: 'fifo' | 'lifo'
  when: (() => boolean) | undefined
  label: string
}

const all: Parameters<typeof check<Options>>[2] = {
  retries: rules.integer(2, { min: 1 }),
  delayMs: rules.duration(500),
  ratio: rules.number(0.5, { min: 0, max: 1 }),
  order: rules.oneOf(['fifo', 'lifo'], 'fifo'),
  when: rules.callback<() => boolean>(),
  label: rules.text('none'),
}
const read = (options: unknown) => check<Options>('retry', options, all)

describe('check', () => {
  it('fills in defaults for options left out', () => {
    const filled = {
      retries: 2,
      delayMs: 500,
      ratio: 0.5,
      order: 'fifo',
      when: undefined,
      label: 'none',
    }
    expect(read(undefined)).toEqual(filled)
    expect(read({})).toEqual(filled)
    expect(read({ retries: undefined })).toEqual(filled)
    expect(read(Object.create(null))).toEqual(filled)
  })

  it('keeps the options that are given', () => {
    const when = () => true
    const given = { retries: 5, delayMs: 1, ratio: 1, order: 'lifo', when, label: 'x' }
    expect(read(given)).toEqual(given)
  })

  it('names the layer, the option, the expected and the actual value in one sentence', () => {
    expect(sentence(() => read({ retries: '5' }))).toBe(
      'retry: option "retries" must be an integer of at least 1, got "5".',
    )
    expect(sentence(() => read({ ratio: 2 }))).toBe(
      'retry: option "ratio" must be a number of at least 0 and at most 1, got 2.',
    )
    expect(sentence(() => read({ order: 'random' }))).toBe(
      'retry: option "order" must be one of "fifo", "lifo", got "random".',
    )
    expect(sentence(() => read({ when: true }))).toBe(
      'retry: option "when" must be a function, got true.',
    )
    expect(sentence(() => read({ label: '' }))).toBe(
      'retry: option "label" must be a non-empty string, got "".',
    )
  })

  it('sets the layer on the error too', () => {
    expect(() => read({ retries: 0 })).toThrow(
      expect.objectContaining({ code: 'CONFIG', status: 500, layer: 'retry' }),
    )
  })

  it.each([
    0,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    2 ** 53,
    '5',
    null,
    true,
    [],
    {},
    5n,
  ])('refuses %o as an integer of at least 1', (value) => {
    expect(sentence(() => read({ retries: value }))).toContain('option "retries"')
  })

  it.each([0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '100', null, Date.now(), new Date()])(
    'refuses %o as a duration',
    (value) => {
      expect(sentence(() => read({ delayMs: value }))).toContain(
        'option "delayMs" must be a duration in milliseconds of at least 1',
      )
    },
  )

  it.each([-0.1, 1.1, Number.NaN, Number.POSITIVE_INFINITY, '0.5', null])(
    'refuses %o as a share',
    (value) => {
      expect(sentence(() => read({ ratio: value }))).toContain('option "ratio"')
    },
  )

  it.each([null, 5, 'retries', true, [], () => {}, Symbol('s'), 5n])(
    'refuses %o in place of options',
    (options) => {
      expect(sentence(() => read(options))).toMatch(/^retry: options must be an object, got /)
    },
  )

  it('describes in words the value it got', () => {
    const got = (value: unknown) =>
      /got (.*)\.$/.exec(sentence(() => read({ retries: value })))?.[1]
    expect([null, Number.NaN, 5n, [], {}, () => {}, Symbol('s')].map(got)).toEqual([
      'null',
      'NaN',
      '5',
      'an array',
      'an object',
      'a function',
      'a symbol',
    ])
  })

  it('refuses an unknown option and lists the known ones', () => {
    expect(sentence(() => read({ retires: 3 }))).toBe(
      'retry: option "retires" is unknown; expected one of retries, delayMs, ratio, order, when, label.',
    )
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'refuses %s as an option, without prototype pollution',
    (name) => {
      const options = JSON.parse(`{"${name}":{"polluted":true}}`) as object
      expect(sentence(() => read(options))).toContain('is unknown')
      expect(({} as { polluted?: true }).polluted).toBeUndefined()
    },
  )

  it('refuses an option whose getter throws, without showing the message of that error', () => {
    const options = {
      get retries(): number {
        throw new Error('sk_secret')
      },
    }
    expect(sentence(() => read(options))).toBe(
      'retry: option "retries" must be an integer of at least 1; reading it threw an error.',
    )
  })

  it('truncates long values and long names', () => {
    expect(sentence(() => read({ order: 'x'.repeat(5000) })).length).toBeLessThan(150)
    expect(sentence(() => read({ ['x'.repeat(5000)]: 1 })).length).toBeLessThan(200)
  })

  it('never shows a secret', () => {
    const secret = {
      apiKey: {
        ...rules.custom<string, undefined>('a key in printable characters', undefined, () => false),
        secret: true,
      },
    }
    for (const value of ['sk_secret', { key: 'sk_secret' }]) {
      const said = sentence(() => check('pool', { apiKey: value }, secret))
      expect(said).toBe(
        'pool: option "apiKey" must be a key in printable characters, got an invalid value.',
      )
    }
  })

  it('refuses a missing required option', () => {
    const needs = { ms: rules.required(rules.duration(undefined)) }
    expect(check('timeout', { ms: 5 }, needs)).toEqual({ ms: 5 })
    expect(sentence(() => check('timeout', undefined, needs))).toContain(
      'option "ms" must be a duration in milliseconds of at least 1',
    )
    expect(sentence(() => check('timeout', undefined, needs))).toMatch(/got undefined\.$/)
  })

  it('throws a different error when given a function that makes it', () => {
    expect(() =>
      check(
        'generate',
        { max: 0 },
        { max: rules.integer(1, { min: 1 }) },
        (text) => new ValidationError(text),
      ),
    ).toThrow(
      expect.objectContaining({
        code: 'VALIDATION',
        message: 'generate: option "max" must be an integer of at least 1, got 0.',
      }),
    )
  })
})

describe('rules', () => {
  it.each(['timeout', 'attempt2', 'my-layer', 'A_b'])('takes %s as a name', (name) => {
    expect(check('timeout', { name }, { name: rules.layerName('timeout') })).toEqual({ name })
  })

  it.each(['', '2nd', 'a b', '__proto__', '-x', 'é', 'x'.repeat(65), 5, null])(
    'refuses %o as a name',
    (name) => {
      expect(
        sentence(() => check('timeout', { name }, { name: rules.layerName('timeout') })),
      ).toContain('starts with a letter')
    },
  )

  it('lets the minimum and maximum of a duration be changed', () => {
    expect(check('close', { ms: 0 }, { ms: rules.duration(5, { min: 0 }) })).toEqual({ ms: 0 })
    expect(
      sentence(() => check('close', { ms: 11 }, { ms: rules.duration(5, { max: 10 }) })),
    ).toContain('at most 10')
  })
})
