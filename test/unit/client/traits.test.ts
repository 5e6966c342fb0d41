import { describe, expect, it } from 'vitest'
import { createBlossom, defineLayer } from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'

describe('the model that the client reports to the layers', () => {
  it('is the one in the body or the query, or else the default of the path', async () => {
    await using upstream = await startLocalBlossom()
    const models: unknown[] = []
    const spy = defineLayer({
      name: 'spy',
      wrap: (next) => (request, context) => {
        models.push(context.base.model?.(request))
        return next(request, context)
      },
    })
    await using blossom = createBlossom({ baseURL: upstream.url }).use(spy)
    await blossom.text.generate('Hello', { model: 'mistral' })
    await blossom.text.generate('Hello')
    await blossom.image.generate('Roses', { model: 'turbo' })
    await blossom.image.generate('Roses & model=kontext')
    await blossom.request({ method: 'POST', path: '/v1/images/generations', body: { prompt: 'A' } })
    await blossom.models.list()
    expect(models).toEqual(['mistral', 'openai', 'turbo', 'flux', 'flux', undefined])
  })
})
