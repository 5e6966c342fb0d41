import { describe, expect, it } from 'vitest'
import { createBlossom } from '../../../../src/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { keyedUpstream } from '../../../support/keyed-upstream.js'

describe('createBlossom', () => {
  const site = keyedUpstream()
  const { client } = site

  describe('image, audio, embeddings, models and account', () => {
    it('image.generate gives bytes and their type', async () => {
      const { bytes, contentType } = await client().image.generate('a cat', {
        width: 32,
        height: 16,
        seed: 5,
        negativePrompt: 'dogs',
      })
      expect(contentType).toBe('image/png')
      expect(bytes).toBeInstanceOf(Uint8Array)
      expect([...bytes.subarray(1, 4)]).toEqual([0x50, 0x4e, 0x47])
      const [request] = site.upstream.requests
      expect(request).toMatchObject({ method: 'GET', path: '/image/a%20cat', rawBody: '' })
      expect(request?.query).toEqual({
        model: 'flux',
        width: '32',
        height: '16',
        seed: '5',
        negative_prompt: 'dogs',
      })
      expect(request?.headers).not.toHaveProperty('content-type')
    })

    it('image.url is the URL that image.generate requests', async () => {
      const blossom = client()
      await blossom.image.generate('a cat', { seed: 5, nologo: true })
      const { pathname, search } = new URL(blossom.image.url('a cat', { nologo: true, seed: 5 }))
      expect(pathname).toBe(site.upstream.requests[0]?.path)
      expect(Object.fromEntries(new URLSearchParams(search))).toEqual(
        site.upstream.requests[0]?.query,
      )
    })

    it('audio.speech gives bytes and their type', async () => {
      const { bytes, contentType } = await client().audio.speech('Hello', {
        voice: 'nova',
        responseFormat: 'wav',
      })
      expect(contentType).toBe('audio/wav')
      expect(Buffer.from(bytes.subarray(0, 4)).toString()).toBe('RIFF')
      expect(site.upstream.requests[0]?.rawBody).toBe(
        '{"input":"Hello","voice":"nova","response_format":"wav"}',
      )
    })

    it('embeddings.create gives one vector for each input, in order', async () => {
      const blossom = client()
      const { embeddings, model, usage } = await blossom.embeddings.create(['a', 'b c'], {
        dimensions: 4,
      })
      const { embeddings: alone } = await blossom.embeddings.create('b c', { dimensions: 4 })
      expect(embeddings).toHaveLength(2)
      expect(embeddings[1]).toEqual(alone[0])
      expect({ model: typeof model, usage }).toEqual({
        model: 'string',
        usage: { promptTokens: 3, completionTokens: 0, totalTokens: 3 },
      })
      expect(site.upstream.requests.map(({ rawBody }) => rawBody)).toEqual([
        '{"input":["a","b c"],"dimensions":4,"encoding_format":"float"}',
        '{"input":"b c","dimensions":4,"encoding_format":"float"}',
      ])
    })

    it('embeddings.create follows the index that upstream gives', async () => {
      const data = [
        { index: 1, embedding: [2] },
        { index: 0, embedding: [1] },
      ]
      await using server = await httpServer((_request, response) =>
        response.end(JSON.stringify({ data })),
      )
      await expect(
        createBlossom({ baseURL: server.url }).embeddings.create(['a', 'b']),
      ).resolves.toEqual({
        embeddings: [[1], [2]],
        model: '',
        usage: undefined,
        headers: {},
      })
    })

    it('models.list needs no key', async () => {
      const models = await createBlossom({ baseURL: site.upstream.url }).models.list()
      expect(models.map(({ id }) => id)).toContain('openai')
      expect(site.upstream.requests[0]).toMatchObject({ method: 'GET', path: '/v1/models' })
    })

    it('account.balance returns only the balance', async () => {
      await expect(client().account.balance()).resolves.toEqual({ balance: 100 })
    })
  })
})
