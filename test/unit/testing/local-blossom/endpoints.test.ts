import OpenAI from 'openai'
import { describe, expect, it } from 'vitest'
import { sizeOf } from './png.js'
import { bodyOf, chat, eventsOf, post, raw, start } from './requests.js'

describe('the other endpoints', () => {
  it('gives plain text by path, JSON and streams by query', async () => {
    const blossom = await start()
    const answer = await fetch(
      `${blossom.url}/text/${encodeURIComponent('Why is the sky/sea blue?')}?seed=1&system=Be%20brief`,
    )
    expect(answer.headers.get('content-type')).toContain('text/plain')
    expect(await answer.text()).toContain('sky/sea')
    expect(answer.headers.get('x-usage-prompt-text-tokens')).toBe('7')
    expect((await bodyOf(fetch(`${blossom.url}/text/sky?json=true`))).topic).toBe('sky')
    expect(eventsOf(await (await fetch(`${blossom.url}/text/sky?stream=true`)).text()).at(-1)).toBe(
      '[DONE]',
    )
    expect((await fetch(`${blossom.url}/text/sky?temperature=hot`)).status).toBe(400)
  })

  it('draws a real PNG of the size asked for, capped', async () => {
    const blossom = await start()
    const draw = async (path: string) =>
      Buffer.from(await (await fetch(blossom.url + path)).arrayBuffer())
    const png = await draw('/image/a%20red%20rose?width=20&height=10&seed=3')
    expect(sizeOf(png)).toEqual({ width: 20, height: 10 })
    expect(await draw('/image/a%20red%20rose?width=20&height=10&seed=3')).toEqual(png)
    expect(await draw('/image/a%20blue%20rose?width=20&height=10&seed=3')).not.toEqual(png)
    expect(sizeOf(await draw('/image/x'))).toEqual({ width: 128, height: 128 })
    expect((await fetch(`${blossom.url}/image/x?width=none`)).status).toBe(400)
  })

  it('plays a real WAV, by path and by body', async () => {
    const blossom = await start()
    const byPath = await fetch(`${blossom.url}/audio/hello?voice=nova`)
    expect(byPath.headers.get('content-type')).toBe('audio/wav')
    const wav = Buffer.from(await byPath.arrayBuffer())
    expect(wav.subarray(0, 4).toString() + wav.subarray(8, 12).toString()).toBe('RIFFWAVE')
    expect(wav.readUInt32LE(4)).toBe(wav.length - 8)
    expect(wav.readUInt32LE(40)).toBe(wav.length - 44)
    const byBody = await post(blossom, '/v1/audio/speech', {
      input: 'hello',
      voice: 'nova',
      model: 'openai-audio',
    })
    expect(Buffer.from(await byBody.arrayBuffer())).toEqual(wav)
    expect((await post(blossom, '/v1/audio/speech', { voice: 'nova' })).status).toBe(400)
  })

  it('embeds up to 32 strings as unit vectors, as numbers or base64', async () => {
    const blossom = await start()
    const embed = (body: object) =>
      post(blossom, '/v1/embeddings', { model: 'text-embedding-3-small', ...body })
    const one = await bodyOf(embed({ input: 'one two' }))
    expect(one).toMatchObject({ object: 'list', usage: { prompt_tokens: 2, total_tokens: 2 } })
    expect(one.data[0].embedding).toHaveLength(8)
    expect(Math.hypot(...one.data[0].embedding)).toBeCloseTo(1)
    const many = await bodyOf(
      embed({ input: ['x', 'one two'], dimensions: 3, encoding_format: 'base64' }),
    )
    expect(many.data.map(({ index }: { index: number }) => index)).toEqual([0, 1])
    expect(Buffer.from(String(many.data[1]?.embedding), 'base64')).toHaveLength(12)
    expect((await embed({ input: Array.from({ length: 32 }, () => 'x') })).status).toBe(200)
    const bad = [Array.from({ length: 33 }, () => 'x'), [], '', ['x', ''], ['x', 1]]
    expect(await Promise.all(bad.map(async (input) => (await embed({ input })).status))).toEqual([
      400, 400, 400, 400, 400,
    ])
  })

  it('makes images through the OpenAI form, as base64 or links that work', async () => {
    const blossom = await start()
    const answer = await bodyOf(
      post(blossom, '/v1/images/generations', { prompt: 'a rose', size: '16x16', n: 2 }),
    )
    expect(answer.data).toHaveLength(2)
    expect(sizeOf(Buffer.from(answer.data[0].b64_json, 'base64'))).toEqual({
      width: 16,
      height: 16,
    })
    const links = await bodyOf(
      post(blossom, '/v1/images/generations', {
        prompt: 'a \ud800',
        size: '8x8',
        response_format: 'url',
      }),
    )
    expect(sizeOf(Buffer.from(await (await fetch(links.data[0].url)).arrayBuffer()))).toEqual({
      width: 8,
      height: 8,
    })
  })

  it('lists models, with and without detail, and the balance', async () => {
    const blossom = await start({ models: ['my-own'] })
    const get = (path: string) => bodyOf(fetch(blossom.url + path))
    const ids = (await get('/v1/models')).data.map(({ id }: { id: string }) => id)
    expect(ids).toEqual(
      expect.arrayContaining([
        'openai',
        'openai-fast',
        'mistral',
        'flux',
        'text-embedding-3-small',
        'my-own',
      ]),
    )
    for (const path of ['/models', '/text/models', '/image/models', '/audio/models']) {
      expect(Object.values(await get(path))[0]).toMatchObject({
        name: expect.any(String),
        aliases: expect.any(Array),
        pricing: expect.any(Object),
      })
    }
    expect(await get('/account/balance')).toEqual({ balance: 100 })
    expect((await chat(blossom, { model: 'my-own' })).status).toBe(200)
    expect(blossom.generations).toBe(1)
  })

  it('refuses unknown routes, methods and models with 404', async () => {
    const blossom = await start()
    const answers = [
      fetch(`${blossom.url}/nowhere`),
      fetch(`${blossom.url}/v1/chat/completions`),
      chat(blossom, { model: 'gpt-none' }),
    ]
    for (const answer of await Promise.all(answers)) {
      expect(answer.status).toBe(404)
      expect((await bodyOf(answer)).error).toMatchObject({
        code: 'NOT_FOUND',
        requestId: expect.any(String),
      })
    }
  })

  it.each([
    '/image/',
    '/image/.',
    '/image/..',
    '/image/%2e%2e',
    '/image/../x',
    '/text/%ED%A0%80',
    '/audio/%',
    '/text/?seed=1',
  ])('refuses the prompt of %s', async (target) => {
    expect(await raw(await start(), target)).toMatch(/^HTTP\/1\.1 400 /)
  })

  it.each(['/text/a/b', '/text/%20', '/text/%2e%2e%2e', '/text/http%3A%2F%2F127.0.0.1'])(
    'takes the prompt of %s',
    async (target) => {
      expect(await raw(await start(), target)).toMatch(/^HTTP\/1\.1 200 /)
    },
  )
})

describe('the openai client', () => {
  it('chats, streams, embeds, lists, draws and speaks', async () => {
    const blossom = await start({ keys: ['sk_test'] })
    const client = new OpenAI({ apiKey: 'sk_test', baseURL: `${blossom.url}/v1`, maxRetries: 0 })
    const messages = [{ role: 'user' as const, content: 'Tell me about tulips' }]
    const whole = await client.chat.completions.create({ model: 'openai', messages })
    let text = ''
    for await (const chunk of await client.chat.completions.create({
      model: 'openai',
      messages,
      stream: true,
    })) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    expect(text).toBe(whole.choices[0]?.message.content)
    const byDefault = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: 'tulip',
    })
    const floats = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: 'tulip',
      encoding_format: 'float',
    })
    expect(byDefault.data[0]?.embedding).toHaveLength(8)
    expect(byDefault.data[0]?.embedding[0]).toBeCloseTo(floats.data[0]?.embedding[0] ?? Number.NaN)
    const ids: string[] = []
    for await (const { id } of client.models.list()) ids.push(id)
    expect(ids).toContain('openai')
    const images = await client.images.generate({ model: 'flux', prompt: 'a tulip' })
    expect(sizeOf(Buffer.from(images.data?.[0]?.b64_json ?? '', 'base64'))).toEqual({
      width: 128,
      height: 128,
    })
    const speech = await client.audio.speech.create({
      model: 'tts-1',
      voice: 'alloy',
      input: 'hello',
    })
    expect(
      Buffer.from(await speech.arrayBuffer())
        .subarray(0, 4)
        .toString(),
    ).toBe('RIFF')
    blossom.faults.push({ status: 429, body: 'openai', retryAfter: 3 })
    await expect(
      client.chat.completions.create({ model: 'openai', messages }),
    ).rejects.toBeInstanceOf(OpenAI.RateLimitError)
  })
})
