import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Blossom,
  type BlossomLayer,
  cache,
  createBlossom,
  dedupe,
  isStackError,
  retry,
} from '../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { httpServer } from '../../support/bare-server.js'
import { failure } from '../../support/watch.js'

const SOUND = Buffer.from('RIFF\0\xff\r\n--x\r\n sound', 'latin1')
const received = (filename: string, bytes: Uint8Array, type = 'application/octet-stream') => ({
  filename,
  type,
  bytes: bytes.byteLength,
  sha256: createHash('sha256').update(bytes).digest('hex'),
})

let upstream: LocalBlossom
let blossom: Blossom
const client = (...layers: BlossomLayer[]) => {
  blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(...layers)
  return blossom
}
beforeEach(async () => {
  upstream = await startLocalBlossom({ coalesce: false })
})
afterEach(async () => {
  await blossom.close({ timeoutMs: 0 })
  await upstream.close()
})

describe('audio.transcribe', () => {
  it('sends the file and the fields as a form, the model first', async () => {
    const { text } = await client().audio.transcribe(SOUND, {
      model: 'openai-audio',
      language: 'en',
      prompt: 'Tulips',
      temperature: 0,
    })
    expect(text).toBe(`A recording of ${SOUND.length} bytes.`)
    expect(upstream.requests[0]).toMatchObject({
      path: '/v1/audio/transcriptions',
      body: {
        model: 'openai-audio',
        language: 'en',
        prompt: 'Tulips',
        temperature: '0',
        file: received('audio.wav', SOUND),
      },
    })
    expect(Object.keys(upstream.requests[0]?.body as object)[0]).toBe('model')
  })

  it.each([
    ['an ArrayBuffer', Uint8Array.from(SOUND).buffer, undefined, received('audio.wav', SOUND)],
    [
      'a Blob',
      new Blob([SOUND], { type: 'audio/mpeg' }),
      'a.mp3',
      received('a.mp3', SOUND, 'audio/mpeg'),
    ],
    ['a File', new File([SOUND], 'a "b".mp3'), undefined, received('a "b".mp3', SOUND)],
  ])('takes %s', async (_, file, filename, expected) => {
    await client().audio.transcribe(file, { filename })
    expect(upstream.requests[0]?.body).toEqual({ file: expected })
  })

  it('is retried with the same bytes and never shared', async () => {
    client(cache(), dedupe(), retry({ minDelayMs: 1, maxDelayMs: 1, budget: false }))
    upstream.fail(503, 2)
    await blossom.audio.transcribe(SOUND)
    await blossom.audio.transcribe(SOUND)
    const bodies = upstream.requests.map(({ rawBody }) => rawBody)
    expect(bodies).toHaveLength(4)
    expect(new Set(bodies.slice(0, 3)).size).toBe(1)
  })

  it.each([['a path'], [null], [{}]])('refuses %j as a file', async (file) => {
    const error = await failure(client().audio.transcribe(file as never))
    expect(isStackError(error, 'VALIDATION')).toBe(true)
    expect(upstream.requests).toHaveLength(0)
  })

  it('treats an answer without text as a failure', async () => {
    await using server = await httpServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
    blossom = createBlossom({ baseURL: server.url })
    expect(isStackError(await failure(blossom.audio.transcribe(SOUND)), 'PROTOCOL')).toBe(true)
  })
})

describe('image.edit', () => {
  it('sends files as a form, and gives the new picture', async () => {
    const { bytes, contentType } = await client().image.edit('Make it red', {
      image: SOUND,
      mask: new File([SOUND], 'mask.png', { type: 'image/png' }),
      model: 'flux',
      size: '64x64',
      seed: 5,
    })
    expect(contentType).toBe('image/png')
    expect(Buffer.from(bytes).toString('latin1', 1, 4)).toBe('PNG')
    expect(upstream.requests[0]?.body).toEqual({
      model: 'flux',
      prompt: 'Make it red',
      size: '64x64',
      seed: '5',
      response_format: 'b64_json',
      image: received('image-0.png', SOUND),
      mask: received('mask.png', SOUND, 'image/png'),
    })
  })

  it('sends several, and addresses as JSON', async () => {
    await client().image.edit('Join', { image: [SOUND, SOUND] })
    await blossom.image.edit('Join', { image: 'https://example.com/a.png' })
    expect(upstream.requests.map(({ body }) => body)).toEqual([
      {
        prompt: 'Join',
        response_format: 'b64_json',
        'image[]': [received('image-0.png', SOUND), received('image-1.png', SOUND)],
      },
      { prompt: 'Join', response_format: 'b64_json', image: ['https://example.com/a.png'] },
    ])
  })

  it.each([[{}], [{ image: [] }], [{ image: '' }], [{ image: [SOUND, 'https://x'] }]])(
    'refuses %j',
    async (options) => {
      const error = await failure(client().image.edit('Join', options as never))
      expect(isStackError(error, 'VALIDATION')).toBe(true)
      expect(upstream.requests).toHaveLength(0)
    },
  )
})

describe('video.generate', () => {
  it('gives the bytes of a video, and of an equal one from the cache', async () => {
    client(cache())
    const options = { model: 'veo', duration: 4, aspectRatio: '16:9', audio: true, seed: 1 }
    for (let i = 0; i < 2; i++) {
      const { bytes, contentType } = await blossom.video.generate('A garden', options)
      expect(contentType).toBe('video/mp4')
      expect(Buffer.from(bytes).toString('latin1')).toContain('A garden')
    }
    expect(upstream.requests).toHaveLength(1)
    expect(upstream.requests[0]).toMatchObject({
      path: '/video/A%20garden',
      query: { model: 'veo', duration: '4', aspectRatio: '16:9', audio: 'true', seed: '1' },
    })
  })

  it('refuses an invalid prompt', async () => {
    expect(isStackError(await failure(client().video.generate('')), 'VALIDATION')).toBe(true)
  })
})
