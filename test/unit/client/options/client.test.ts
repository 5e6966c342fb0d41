import { describe, expect, it } from 'vitest'
import { ConfigError, createBlossom } from '../../../../src/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { everythingOf, KEY } from '../../../support/secrets.js'
import { thrown } from '../../../support/watch.js'
import { completion } from '../../../support/wire.js'

/** What a caller without types could pass. */
// biome-ignore lint/suspicious/noExplicitAny: the tests of this file pass what the types forbid
type Anything = any

/** One of every kind of value, for options that take none of them. */
const junk = (...except: unknown[]) =>
  [
    0,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '',
    '5',
    true,
    null,
    [],
    {},
    () => {},
    Symbol('s'),
    5n,
  ].filter((value) => !except.some((one) => Object.is(one, value) || typeof one === typeof value))

describe('createBlossom', () => {
  const options: [string, Anything][] = [
    ...[
      0,
      '',
      '   ',
      'two words',
      'a\r\nb',
      'a\nb',
      'a\0b',
      'schlüssel',
      '鍵',
      '\u007f',
      null,
      {},
      [],
    ].map((apiKey): [string, Anything] => ['an API key', { apiKey }]),
    ...[
      'file:///etc/passwd',
      'data:text/plain,hello',
      'javascript:alert(1)',
      'ftp://example.com',
      'ws://example.com',
      'blob:http://example.com/1',
      'http://user@example.com',
      'http://user:secret@example.com',
      'http://:secret@example.com',
      'http://example.com\r\nx: y',
      'http://exa mple.com',
      'http://example.com/\n',
      '\thttp://example.com',
      'http:\\\\example.com',
      'http://example.com\\@other.example',
      '',
      ' ',
      'example.com',
      '/v1',
      '//example.com',
      'http://',
      'http://example.com?key=1',
      'http://example.com/#part',
      'http://example.com/v1',
      'http://example.com/v1/',
      'http://example.com/v1//',
      null,
      5,
      {},
      new URL('http://example.com'),
    ].map((baseURL): [string, Anything] => ['a base URL', { baseURL }]),
    ...[
      'authorization',
      'Authorization',
      'HOST',
      'content-type',
      'content-length',
      'transfer-encoding',
      'connection',
      'keep-alive',
      'accept-encoding',
      'user-agent',
      'cookie',
      'expect',
      'upgrade',
      '',
      'a b',
      'a:b',
      'a\r\nb',
      'ä',
    ].map((name): [string, Anything] => ['a header name', { headers: { [name]: 'value' } }]),
    ...['a\r\nx-evil: 1', 'a\nb', 'a\0', 'ä', '\u007f', 5, null, undefined, ['a']].map(
      (value): [string, Anything] => ['a header value', { headers: { 'x-tag': value } }],
    ),
    ...[null, 'x', 5, ['a: b']].map((headers): [string, Anything] => ['headers', { headers }]),
    ...junk(1, {}).map((maxResponseBytes): [string, Anything] => ['a size', { maxResponseBytes }]),
    ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY].map(
      (maxResponseBytes): [string, Anything] => ['a size', { maxResponseBytes }],
    ),
    ...['', 'a\nb', 'ä', 5, null].map((userAgent): [string, Anything] => [
      'a user agent',
      { userAgent },
    ]),
    ...[null, 5, 'x', {}, { dispatch: true }].map((dispatcher): [string, Anything] => [
      'a dispatcher',
      { dispatcher },
    ]),
    ...[null, 5, 'x', {}].map((layers): [string, Anything] => ['layers', { layers }]),
    ['an unknown name', { apikey: KEY }],
    ['an unknown name', { timeout: 5 }],
    ['an unknown name', { baseUrl: 'http://example.com' }],
    ['an unknown name', JSON.parse('{"__proto__":{"apiKey":"x"}}')],
    ['options that are none', null],
    ['options that are none', 'sk_text'],
    ['options that are none', [KEY]],
  ]

  it.each(options)('refuses %s at once, case %#', (_what, given) => {
    const error = thrown(() => createBlossom(given))
    expect(error).toBeInstanceOf(ConfigError)
    expect(error).toMatchObject({ code: 'CONFIG', status: 500, refused: true, retryable: false })
    expect((error as Error).message).toMatch(/^createBlossom: .+\.$|^createBlossom: .+\?$/)
  })

  it.each(['sk_secret part', 'sk_secret\r\nx: y', 'sk_secret\0', 'sk_secretü'])(
    'never quotes a key that it refuses, case %#',
    (apiKey) => {
      expect(everythingOf(thrown(() => createBlossom({ apiKey })))).not.toContain('secret')
    },
  )

  it('never quotes the password of an address that it refuses', () => {
    expect(
      everythingOf(thrown(() => createBlossom({ baseURL: 'http://user:hunter2@example.com' }))),
    ).not.toContain('hunter2')
    expect(
      everythingOf(thrown(() => createBlossom({ baseURL: 'http://example.com?key=hunter2' }))),
    ).not.toContain('hunter2')
  })

  it('refuses an option whose getter throws', () => {
    const options = Object.defineProperty({}, 'apiKey', {
      enumerable: true,
      get: () => JSON.parse('no'),
    })
    expect(thrown(() => createBlossom(options))).toMatchObject({ code: 'CONFIG' })
  })

  it.each([
    ['http://127.0.0.1:PORT', ''],
    ['http://127.0.0.1:PORT/', ''],
    ['http://127.0.0.1:PORT/gateway', '/gateway'],
    ['http://127.0.0.1:PORT/a/b/', '/a/b'],
    ['HTTP://127.0.0.1:PORT', ''],
  ])('keeps the base path in every request sent to %s', async (address, prefix) => {
    await using server = await httpServer((_request, response) =>
      response.end(JSON.stringify(completion())),
    )
    await createBlossom({ baseURL: address.replace('PORT', String(server.port)) }).text.generate(
      'x',
    )
    expect(server.requests[0]?.path).toBe(`${prefix}/v1/chat/completions`)
  })

  it('treats undefined as not given', () => {
    const nothing = {
      apiKey: undefined,
      baseURL: undefined,
      headers: undefined,
      dispatcher: undefined,
      userAgent: undefined,
    }
    expect(
      createBlossom({ ...nothing, maxResponseBytes: undefined, layers: undefined }).describe(),
    ).toEqual([])
    expect(createBlossom().image.url('x')).toMatch(/^https:\/\/gen\.pollinations\.ai\/image\/x/)
  })
})
