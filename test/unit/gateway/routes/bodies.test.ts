import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { GatewayOptions } from '../../../../src/gateway/index.js'
import { ExpressFramework } from '../../../support/http-frameworks.js'
import {
  answerOf,
  closeAll,
  comparable,
  everyHeader,
  openEach,
  openSite,
  type Site,
  said,
  sameFromEach,
} from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'
import { generations } from './generations.js'

describe('wrong fields', () => {
  const wrong: readonly [name: string, body: object | string, fields: readonly string[]][] = [
    ['no prompt', {}, ['prompt']],
    ['an empty prompt', { prompt: '' }, ['prompt']],
    ['a prompt of spaces', { prompt: '  \n' }, ['prompt']],
    ['a prompt that is a number', { prompt: 5 }, ['prompt']],
    ['a prompt that is an object', { prompt: {} }, ['prompt']],
    ['a prompt that is a list', { prompt: ['a'] }, ['prompt']],
    ['a prompt that is null', { prompt: null }, ['prompt']],
    ['max_tokens of 0', { prompt, max_tokens: 0 }, ['max_tokens']],
    ['negative max_tokens', { prompt, max_tokens: -1 }, ['max_tokens']],
    ['broken max_tokens', { prompt, max_tokens: 1.5 }, ['max_tokens']],
    ['max_tokens as text', { prompt, max_tokens: '5' }, ['max_tokens']],
    ['enormous max_tokens', { prompt, max_tokens: 1e9 }, ['max_tokens']],
    ['a temperature below 0', { prompt, temperature: -0.1 }, ['temperature']],
    ['a temperature above 2', { prompt, temperature: 2.1 }, ['temperature']],
    ['a temperature as text', { prompt, temperature: '1' }, ['temperature']],
    ['a model that is a number', { prompt, model: 1 }, ['model']],
    ['an empty model', { prompt, model: '' }, ['model']],
    [
      'everything at once',
      { prompt: 1, max_tokens: 0, temperature: 9, model: [] },
      ['prompt', 'max_tokens', 'temperature', 'model'],
    ],
    ['a list instead of an object', '[]', []],
    ['a bare string', '"prompt"', []],
    ['null', 'null', []],
    ['text that is no JSON', '{"prompt":', []],
    ['nothing', '', []],
  ]

  let sites: Site[]
  beforeAll(async () => {
    sites = await openEach()
  })
  afterAll(() => closeAll(sites))

  test.each(wrong)('%s is 400 and names the field', async (_name, body, fields) => {
    const answers = await sameFromEach(sites, async ({ ask, upstream }) => {
      const seen = []
      for (const [path] of [...generations, ['/generate/stream']]) {
        const { status, headers, json, text } = await ask(path!, {
          body,
          headers: { 'content-type': 'application/json' },
        })
        seen.push({
          status,
          type: headers['content-type'],
          code: json.code,
          fields: json.errors?.map((one: { field: string }) => one.field),
          text,
        })
      }
      return {
        seen: seen.map(({ text, ...rest }) => ({ ...rest, leaks: text.includes(prompt) })),
        requests: upstream.requests.length,
      }
    })
    expect(answers.requests).toBe(0)
    for (const seen of answers.seen) {
      expect(seen).toEqual({
        status: 400,
        type: 'application/problem+json',
        code: 'VALIDATION',
        fields: fields.length === 0 ? undefined : fields,
        leaks: false,
      })
    }
  })

  test('a problem holds a sentence, the fields and our request id, and nothing more', async () => {
    const { body, headers } = await answerOf('/generate/text', {
      body: { prompt: '', max_tokens: 0 },
    })
    expect(headers).toEqual({ ...everyHeader, 'content-type': 'application/problem+json' })
    expect(body).toEqual({
      type: 'about:blank',
      title: 'Bad Request',
      status: 400,
      detail:
        'The request is not valid: prompt must be a non-empty string; max_tokens must be an integer from 1 to 32768.',
      code: 'VALIDATION',
      requestId: 'ID',
      errors: [
        { field: 'prompt', message: 'must be a non-empty string' },
        { field: 'max_tokens', message: 'must be an integer from 1 to 32768' },
      ],
    })
  })

  test.each([
    ['text/plain', 415],
    ['application/x-www-form-urlencoded', 415],
    ['multipart/form-data; boundary=x', 415],
    ['', 415],
    ['application/json; charset=utf-8', 200],
    ['Application/JSON', 200],
    ['application/vnd.api+json', 200],
  ])('content-type %j is %i', async (type, expected) => {
    const { status, body } = await answerOf('/generate/text', {
      body: { prompt },
      headers: { 'content-type': type },
    })
    expect(status).toBe(expected)
    if (expected === 415)
      expect(body).toMatchObject({ code: 'VALIDATION', title: 'Unsupported Media Type' })
  })

  test.each(['gzip', 'GZIP', 'br', 'deflate, gzip'])(
    'a body compressed with %s is 415 and names what is accepted',
    async (encoding) => {
      const body = encoding === 'gzip' ? gzipSync(JSON.stringify({ prompt })).toString() : '{}'
      for (const path of ['/generate/text', '/v1/chat/completions']) {
        const headers = { 'content-type': 'application/json', 'content-encoding': encoding }
        const answer = await answerOf(path, { body, headers })
        expect(answer).toMatchObject({ status: 415, headers: { 'accept-encoding': 'identity' } })
        expect(JSON.stringify(answer.body)).toContain('must not be compressed')
      }
    },
  )

  test('accepts a body that declares itself uncompressed', async () => {
    const headers = { 'content-encoding': 'identity' }
    expect((await answerOf('/generate/text', { body: { prompt }, headers })).status).toBe(200)
  })

  test('an oversized body is 413, with or without a declared length, and the connection stays open', async () => {
    const big = { prompt: 'x'.repeat(2_000) }
    const answers = await sameFromEach(
      { gateway: { bodyLimit: 1_000 } },
      async ({ ask, upstream }) => {
        const told = await ask('/generate/text', { body: big })
        const untold = await ask('/generate/text', {
          body: big,
          headers: { 'transfer-encoding': 'chunked', 'content-type': 'application/json' },
        })
        const fits = await ask('/generate/text', { body: { prompt: 'x'.repeat(900) } })
        return {
          told: comparable(told),
          untold: comparable(untold),
          fits: fits.status,
          requests: upstream.requests.length,
        }
      },
    )
    expect(answers.told).toMatchObject({
      status: 413,
      body: { code: 'TOO_LARGE', title: 'Payload Too Large' },
    })
    expect(answers.untold).toEqual(answers.told)
    expect(answers).toMatchObject({ fits: 200, requests: 1 })
  })

  test('the limit defaults to 1 MiB', async () => {
    const outcome = await sameFromEach(said('Long.'), async ({ ask }) => {
      const wrapping = JSON.stringify({ prompt: '' }).length
      const fits = await ask('/generate/text', {
        body: { prompt: 'x'.repeat(1024 * 1024 - wrapping) },
      })
      const not = await ask('/generate/text', {
        body: { prompt: 'x'.repeat(1024 * 1024 - wrapping + 1) },
      })
      return [fits.status, not.status]
    })
    expect(outcome).toEqual([200, 413])
  })
})

describe('the limit of a body that may hold a picture', () => {
  const pictureOf = (bytes: number) => ({
    messages: [
      {
        role: 'user',
        content: [{ type: 'image_url', image_url: { url: `data:,${'A'.repeat(bytes)}` } }],
      },
    ],
  })
  const statusOf = (bytes: number) => async (site: Site) =>
    (await site.ask('/v1/chat/completions', { body: pictureOf(bytes) })).status
  const MIB = 1024 * 1024

  test('defaults to 20 MiB', async () => {
    expect(await sameFromEach({}, statusOf(1.6 * MIB))).toBe(200)
    await using site = await openSite(ExpressFramework)
    expect(await statusOf(20 * MIB - 1_000)(site)).toBe(200)
    expect(await statusOf(20 * MIB)(site)).toBe(413)
  })

  test('is `mediaBodyLimit`, or `bodyLimit` if that is larger', async () => {
    const statusWith = async (gateway: GatewayOptions<never>, bytes: number) => {
      await using site = await openSite(ExpressFramework, { gateway })
      return await statusOf(bytes)(site)
    }
    expect(await statusWith({ mediaBodyLimit: 2_000 }, 3_000)).toBe(413)
    expect(await statusWith({ mediaBodyLimit: 2_000, bodyLimit: 5_000 }, 3_000)).toBe(413)
    expect(await statusWith({ bodyLimit: 30 * MIB }, 20 * MIB)).toBe(200)
  })

  test('does not apply to other routes', async () => {
    const outcome = await sameFromEach({}, async ({ ask }) => {
      const input = 'x'.repeat(1.6 * MIB)
      return [
        (await ask('/v1/embeddings', { body: { input } })).status,
        (await ask('/generate/text', { body: { prompt: input } })).status,
      ]
    })
    expect(outcome).toEqual([413, 413])
  })
})
