import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type Blossom,
  createBlossom,
  StackError,
  TooLargeError,
  ValidationError,
} from '../../../../src/index.js'
import { type BareServer, httpServer } from '../../../support/bare-server.js'
import { everythingOf, KEY } from '../../../support/secrets.js'
import { failure, thrown } from '../../../support/watch.js'
import { chatEvents, completion } from '../../../support/wire.js'

/** What a caller without types could pass. */
// biome-ignore lint/suspicious/noExplicitAny: the tests of this file pass what the types forbid
type Anything = any

describe('calls', () => {
  let server: BareServer
  let blossom: Blossom
  beforeAll(async () => {
    server = await httpServer((request, response) => {
      const stream = request.body.includes('"stream":true')
      if (request.path.startsWith('/image/'))
        response.writeHead(200, { 'content-type': 'image/png' }).end('png')
      else if (stream)
        response.writeHead(200, { 'content-type': 'text/event-stream' }).end(chatEvents('ok'))
      else
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify(completion('ok')))
    })
    blossom = createBlossom({ baseURL: server.url, apiKey: KEY })
  })
  afterAll(async () => {
    await blossom.close()
    await server[Symbol.asyncDispose]()
  })
  let before = 0
  beforeEach(() => {
    before = server.requests.length
  })

  /** The call gives a promise, which rejects, and nothing is sent. */
  async function expectRefusal(
    call: () => Promise<unknown>,
    code = 'VALIDATION',
  ): Promise<StackError> {
    let work: Promise<unknown> | undefined
    expect(() => {
      work = call()
    }).not.toThrow()
    const error = await failure(work as Promise<unknown>)
    expect(error).toBeInstanceOf(StackError)
    expect(error).toMatchObject({ code, refused: true, retryable: false })
    expect(server.requests.length - before).toBe(0)
    return error as StackError
  }

  const messages = [{ role: 'user', content: 'x' }]
  /** Each method with options of the caller's choice. */
  const methods: Record<string, (options: Anything) => Promise<unknown>> = {
    'text.generate': (o) => blossom.text.generate('x', o),
    'text.stream': (o) => blossom.text.stream('x', o),
    'chat.create': (o) => blossom.chat.create({ messages }, o),
    'chat.stream': (o) => blossom.chat.stream({ messages }, o),
    'image.generate': (o) => blossom.image.generate('x', o),
    'audio.speech': (o) => blossom.audio.speech('x', o),
    'embeddings.create': (o) => blossom.embeddings.create('x', o),
    'models.list': (o) => blossom.models.list(o),
    'account.balance': (o) => blossom.account.balance(o),
    request: (o) => blossom.request({ path: '/x' }, o),
    'text.batch': (o) => blossom.text.batch(['x'], o).next(),
  }

  describe.each(Object.keys(methods))('%s', (name) => {
    const method = methods[name] as (options: Anything) => Promise<unknown>
    const wrong: [string, Anything][] = [
      ['null', null],
      ['a number', 5],
      ['a text', 'x'],
      ['a list', []],
      ['a bare signal', new AbortController().signal],
      ['an unknown name', { timeout: 5 }],
      ['an unknown name __proto__', JSON.parse('{"__proto__":{"timeoutMs":5}}')],
      ['an unknown name constructor', { constructor: 5 }],
    ]
    it.each(wrong)('refuses options that are %s', async (_what, options) => {
      // A batch hands the options of the call on to each of its calls.
      if (
        name === 'text.batch' &&
        typeof options === 'object' &&
        options !== null &&
        Object.keys(options).length > 0
      ) {
        const { value } = (await method(options)) as { value: { ok: boolean; error: unknown } }
        expect(value).toMatchObject({ ok: false, error: { code: 'VALIDATION' } })
      } else await expectRefusal(() => method(options))
      expect(server.requests.length - before).toBe(0)
    })

    it('refuses an option whose getter throws', async () => {
      const options = Object.defineProperty(
        {},
        name === 'text.batch' ? 'concurrency' : 'timeoutMs',
        {
          enumerable: true,
          get: () => {
            throw new TypeError('on purpose')
          },
        },
      )
      await expectRefusal(() => method(options))
    })

    if (name === 'text.batch') return
    const values: [string, unknown][] = [
      ...[0, -1, Number.NaN, Number.POSITIVE_INFINITY, '5', null, 1e15].map(
        (value): [string, unknown] => ['timeoutMs', value],
      ),
      ...[Number.NaN, '5', null, Date.now()].map((value): [string, unknown] => ['deadline', value]),
      ...[Number.NaN, Number.POSITIVE_INFINITY, '5', null].map((value): [string, unknown] => [
        'priority',
        value,
      ]),
      ...['', 5, null].map((value): [string, unknown] => ['tenant', value]),
      ...['', 'never', true, null].map((value): [string, unknown] => ['cache', value]),
      ...[{}, null, 5].map((value): [string, unknown] => ['signal', value]),
      ...[{}, null, 5].map((value): [string, unknown] => ['meta', value]),
      ...['', 'two words', 'sk_secret\r\nx: y', 'sk_secretü', null, 5].map(
        (value): [string, unknown] => ['apiKey', value],
      ),
    ]
    it.each(values)('refuses a wrong %s, case %#', async (option, value) => {
      const error = await expectRefusal(() => method({ [option]: value }))
      expect(everythingOf(error)).not.toContain('sk_secret')
    })
  })

  const fields: [string, string, unknown[]][] = [
    ...['text.generate', 'text.stream'].flatMap((method): [string, string, unknown[]][] => [
      [method, 'model', ['', 5, null]],
      [method, 'maxTokens', [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null]],
      [method, 'temperature', [-0.1, 2.1, Number.NaN, '1', null]],
      [method, 'topP', [-0.1, 1.1, Number.NaN, '1', null]],
      [method, 'seed', [1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null, 2 ** 60]],
      [method, 'stop', [5, null, [5], {}]],
    ]),
    ['image.generate', 'model', ['', 5]],
    ['image.generate', 'width', [0, -1, 1.5, Number.NaN, '5', 1e9]],
    ['image.generate', 'height', [0, -1, 1.5, Number.NaN, '5', 1e9]],
    ['image.generate', 'quality', ['', 'best', 5]],
    ['image.generate', 'nologo', ['true', 1, null]],
    ['image.generate', 'guidanceScale', ['5', Number.NaN]],
    ['image.generate', 'negativePrompt', ['', 5]],
    ['audio.speech', 'voice', ['', 5]],
    ['audio.speech', 'speed', [0, 5, '1', Number.NaN]],
    ['audio.speech', 'responseFormat', ['', 5]],
    ['embeddings.create', 'dimensions', [0, -1, 1.5, '5', Number.NaN, 1e9]],
    ['embeddings.create', 'model', ['', 5]],
  ]
  it.each(
    fields.flatMap(([method, field, values]) =>
      values.map((value): [string, string, unknown] => [method, field, value]),
    ),
  )('%s refuses a wrong %s, case %#', async (method, field, value) => {
    const { message } = await expectRefusal(() =>
      (methods[method] as (options: Anything) => Promise<unknown>)({ [field]: value }),
    )
    expect(message).toContain(`${method}: option "${field}" must be`)
  })

  it.each(['concurrency', 'order', 'onProgress', 'estimate', 'checkpoint', 'signal'])(
    'text.batch refuses a wrong %s',
    async (option) => {
      for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '', null, {}]) {
        await expectRefusal(() => blossom.text.batch(['x'], { [option]: value } as Anything).next())
      }
    },
  )

  it.each([undefined, null, 5, 'text', {}])(
    'text.batch refuses prompts that are not a list: %j',
    async (prompts: Anything) => {
      await expectRefusal(() => blossom.text.batch(prompts).next())
    },
  )

  describe.each([
    'text.generate',
    'text.stream',
    'image.generate',
    'audio.speech',
    'embeddings.create',
  ])('prompts of %s', (name) => {
    const ask = (prompt: Anything): Promise<unknown> => {
      const [area, method] = name.split('.') as [string, string]
      return (blossom as Anything)[area][method](prompt)
    }
    it.each(['', undefined, null, 5, {}, Symbol('s')])(
      'must be non-empty texts: %s',
      async (prompt) => {
        await expectRefusal(() => ask(prompt))
      },
    )
  })

  it.each([
    [[]],
    [['a', '']],
    [['a', 5]],
    [[undefined]],
    [new Set(['a'])],
    [{ 0: 'a', length: 1 }],
  ])(
    'embeddings.create refuses a list that holds anything but texts, case %#',
    async (input: Anything) => {
      await expectRefusal(() => blossom.embeddings.create(input))
    },
  )

  describe('chat bodies', () => {
    const cycle: Record<string, unknown> = { messages }
    cycle.self = cycle
    it.each([
      ['nothing', undefined],
      ['null', null],
      ['a text', 'x'],
      ['a list', messages],
      ['no messages', {}],
      ['an empty list of messages', { messages: [] }],
      ['messages that are no list', { messages: { 0: messages[0], length: 1 } }],
      ['a cycle', cycle],
      ['a bigint', { messages, seed: 5n }],
    ])('are refused when they are, or contain, %s', async (_what, body: Anything) => {
      await expectRefusal(() => blossom.chat.create(body))
      await expectRefusal(() => blossom.chat.stream(body))
    })

    it('are refused when their `stream` contradicts the method', async () => {
      const { message } = await expectRefusal(() => blossom.chat.create({ messages, stream: true }))
      expect(message).toContain('or call chat.stream instead')
      expect(
        (await expectRefusal(() => blossom.chat.stream({ messages, stream: false }))).message,
      ).toContain('or call chat.create instead')
      await expectRefusal(() => blossom.chat.create({ messages, stream: 'yes' }))
    })
  })

  it('messages in place of a prompt point to chat', async () => {
    const messages: Anything = [{ role: 'user', content: 'Hi' }]
    const { message } = await expectRefusal(() => blossom.text.generate(messages))
    expect(message).toBe(
      'text.generate: the prompt must be a string, got an array. For messages, use chat.create().',
    )
    expect((await expectRefusal(() => blossom.text.stream(messages))).message).toContain(
      'got an array. For messages, use chat.stream().',
    )
    expect((await expectRefusal(() => blossom.image.generate(messages))).message).toMatch(
      /got an array\.$/,
    )
  })

  describe('prompts in a path', () => {
    it.each(['.', '..'])('are refused when they are %j', async (prompt) => {
      await expectRefusal(() => blossom.image.generate(prompt))
      expect(thrown(() => blossom.image.url(prompt))).toBeInstanceOf(ValidationError)
    })

    it.each(['\ud800', '\udc00', 'a\ud83d', '\ude00\ud83d', '\ud800\ud800\udc00'])(
      'are refused when they contain half a character, case %#',
      async (prompt) => {
        const error = await expectRefusal(() => blossom.image.generate(prompt))
        expect(error).toBeInstanceOf(ValidationError)
      },
    )

    it.each([
      'x'.repeat(8_193),
      'ä'.repeat(2_000),
      'x'.repeat(100_000),
      'x'.repeat(10_000_000),
      '\ud800'.repeat(100_000),
    ])('are refused quickly when they are too long, case %#', async (prompt) => {
      const began = performance.now()
      const error = await expectRefusal(
        () => blossom.image.generate(prompt),
        prompt.startsWith('\ud800') ? 'VALIDATION' : 'TOO_LARGE',
      )
      if (!prompt.startsWith('\ud800')) expect(error).toMatchObject({ status: 413 })
      if (!prompt.startsWith('\ud800')) expect(error).toBeInstanceOf(TooLargeError)
      expect(performance.now() - began).toBeLessThan(500)
    })

    it('are refused when the query after them is too long', async () => {
      await expectRefusal(
        () => blossom.image.generate('x', { negativePrompt: 'x'.repeat(1_000_000) }),
        'TOO_LARGE',
      )
      await expectRefusal(
        () => blossom.image.generate('x', { image: `data:image/png;base64,${'A'.repeat(20_000)}` }),
        'TOO_LARGE',
      )
    })

    const awkward = [
      ' ',
      '...',
      '%2e%2e',
      '%2E',
      'a/b',
      '../../account/balance',
      '/',
      '//evil.example/x',
      '?x',
      '?key=1&model=x',
      '#y',
      '\\',
      '..\\..',
      'http://127.0.0.1:1/x',
      'https://evil.example@127.0.0.1/',
      'a\r\nx-evil: 1\r\n\r\nGET /evil HTTP/1.1',
      '\0',
      '\u2028',
      '😀',
      'é',
      'é',
      "!'()*~",
      'x'.repeat(8_192),
    ]
    it.each(awkward)('become one path segment that decodes to the prompt: %j', async (prompt) => {
      await blossom.image.generate(prompt)
      const [request] = server.requests.slice(before)
      const { pathname, searchParams, host } = new URL(request?.path ?? '', server.url)
      expect(host).toBe(new URL(server.url).host)
      expect(pathname.split('/')).toHaveLength(3)
      expect(pathname.startsWith('/image/')).toBe(true)
      expect(decodeURIComponent(pathname.slice('/image/'.length))).toBe(prompt)
      expect([...searchParams]).toEqual([['model', 'flux']])
      expect(request?.headers).not.toHaveProperty('x-evil')
      expect(server.requests.length - before).toBe(1)
      expect(new URL(blossom.image.url(prompt)).href).toBe(
        new URL(request?.path ?? '', server.url).href,
      )
    })
  })

  it.each([
    '.',
    '..',
    '\ud800',
    '%2e%2e',
    '//evil/x',
    'a\r\nb\0',
    '__proto__',
    'x'.repeat(10_000_000),
  ])('prompts in a body are sent as they are, case %#', async (prompt) => {
    await blossom.text.generate(prompt)
    const [request] = server.requests.slice(before)
    expect(JSON.parse(request?.body ?? '')).toEqual({
      model: 'openai',
      messages: [{ role: 'user', content: prompt }],
    })
    expect(request?.path).toBe('/v1/chat/completions')
  })

  it.each(['model', 'voice'])('a %s with line breaks adds no header', async (field) => {
    const value = 'x\r\nx-evil: 1'
    await blossom.text.generate('x', { model: value })
    await blossom.image.generate('x', { model: value })
    await blossom.audio.speech('x', { [field]: value }).catch(() => {})
    for (const { headers } of server.requests.slice(before))
      expect(headers).not.toHaveProperty('x-evil')
    expect(server.requests.length - before).toBe(3)
  })

  describe('request', () => {
    it.each([
      '',
      'x',
      '//evil.example',
      '//evil.example/x',
      '/\\evil.example',
      '/../x',
      '/a/../x',
      '/a/..',
      '/./x',
      '/%2e%2e/x',
      '/%2E%2e/x',
      '/.%2e/x',
      '/%2e/x',
      '/x\r\ny: z',
      '/x\n',
      '/x y',
      '/x\0',
      '/ä',
      '/x#y',
      'http://127.0.0.1:1/x',
      'https://evil.example/x',
      '@evil.example/x',
      null,
      5,
      ['/x'],
      undefined,
    ])('refuses the path %j', async (path: Anything) => {
      await expectRefusal(() => blossom.request({ path }))
    })

    it.each([
      ['a method of another kind', { path: '/x', method: 'TRACE' }],
      ['a method in small letters', { path: '/x', method: 'get' }],
      ['a method with line ends', { path: '/x', method: 'GET / HTTP/1.1\r\n' }],
      ['a body that is a text', { path: '/x', body: 'x' }],
      ['a body that is a list', { path: '/x', body: [] }],
      ['a body that is null', { path: '/x', body: null }],
      ['a body with a cycle', { path: '/x', body: Object.assign({}, { self: [] as unknown[] }) }],
      ['headers', { path: '/x', headers: { authorization: 'x' } }],
      ['a base URL', { path: '/x', baseURL: 'http://evil.example' }],
      ['nothing', undefined],
      ['a text', '/x'],
    ])('refuses %s', async (what, raw: Anything) => {
      if (what === 'a body with a cycle') raw.body.self.push(raw.body)
      await expectRefusal(() => blossom.request(raw))
    })

    it.each(['/x', '/', '/a//b', '/x?y=../z', '/x?u=http://a.example/', '/%2e%2e%2fx', '/a/...'])(
      'sends the path %j as it is',
      async (path) => {
        await blossom.request({ path })
        expect(server.requests.at(-1)?.path).toBe(path)
      },
    )
  })

  describe('image.url', () => {
    it.each([
      ['an unknown name', { size: 5 }],
      ['a wrong value', { width: '5' }],
      ['an option of a call', { timeoutMs: 5 }],
      ['a signal', new AbortController()],
      ['null', null],
      ['a field __proto__', JSON.parse('{"__proto__":{"model":"x"}}')],
    ])('refuses %s', (_what, options: Anything) => {
      if (options instanceof AbortController) options = { signal: options.signal }
      expect(thrown(() => blossom.image.url('x', options))).toMatchObject({ code: 'VALIDATION' })
    })

    it.each(['', 5, undefined])('refuses the prompt %j by throwing', (prompt: Anything) => {
      expect(thrown(() => blossom.image.url(prompt))).toBeInstanceOf(ValidationError)
    })

    it('never contains the key', () => {
      const url = blossom.image.url('a cat', {
        width: 64,
        negativePrompt: 'dogs',
        guidanceScale: 2.5,
        nologo: true,
      })
      expect(url).toBe(
        `${server.url}/image/a%20cat?model=flux&width=64&negative_prompt=dogs&nologo=true&guidance_scale=2.5`,
      )
      expect(url).not.toContain(KEY)
    })

    it('sends nothing and leaves the client unused', () => {
      const unused = createBlossom({ baseURL: server.url })
      unused.image.url('x')
      expect(() => unused.use()).not.toThrow()
      expect(server.requests.length - before).toBe(0)
    })
  })

  it('rejects with the reason of an already aborted signal, and sends nothing', async () => {
    const reason = new Error('changed my mind')
    for (const name of Object.keys(methods)) {
      const work = (methods[name] as (options: Anything) => Promise<unknown>)({
        signal: AbortSignal.abort(reason),
      })
      await expect(work).rejects.toBe(reason)
    }
    expect(server.requests.length - before).toBe(0)
  })
})
