import { describe, expect, test } from 'vitest'
import {
  answerOf,
  everyHeader,
  heldStack,
  type Site,
  said,
  sameFromEach,
  until,
} from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'
import { generations } from './generations.js'

describe('generations', () => {
  test.each(generations)(
    'POST %s answers as the guide says, and the same in each framework',
    async (path, body) => {
      const answer = await answerOf(path, { body: { prompt } }, said('Hello, garden.'))
      expect(answer).toMatchObject({ status: 200, body })
      expect(answer.headers).toEqual({
        ...everyHeader,
        'server-timing': 'queue;dur=ms, upstream;dur=ms',
        ...(path === '/generate/cached' && { 'x-cache': 'MISS' }),
      })
    },
  )

  test('fields and their defaults go upstream as one user message', async () => {
    const bodies = await sameFromEach({}, async (site) => {
      await site.ask('/generate/text', { body: { prompt } })
      await site.ask('/generate/text', {
        body: { prompt, max_tokens: 7, temperature: 0, model: 'mistral' },
      })
      await site.ask('/generate/text', {
        body: { prompt, max_tokens: null, temperature: null, model: null },
      })
      return site.upstream.requests.map(({ body }) => body)
    })
    const messages = [{ role: 'user', content: prompt }]
    const usual = { model: 'openai', messages, max_tokens: 100, temperature: 0.7 }
    expect(bodies).toEqual([
      usual,
      { model: 'mistral', messages, max_tokens: 7, temperature: 0 },
      usual,
    ])
  })

  test('only /generate/cached is served from the cache', async () => {
    const outcome = await sameFromEach({}, async ({ ask, upstream }) => {
      const seen = []
      for (const path of ['text', 'text', 'cached', 'cached', 'queued', 'text']) {
        const { json, headers } = await ask(`/generate/${path}`, { body: { prompt } })
        seen.push([path, json.cached, headers['x-cache']])
      }
      return { seen, requests: upstream.requests.length }
    })
    expect(outcome).toEqual({
      seen: [
        ['text', undefined, undefined],
        ['text', undefined, undefined],
        ['cached', false, 'MISS'],
        ['cached', true, 'HIT'],
        ['queued', undefined, undefined],
        ['text', undefined, undefined],
      ],
      requests: 5,
    })
  })

  test('an empty answer is passed on but not stored', async () => {
    const answers = await sameFromEach(said(''), async ({ ask }) => {
      await ask('/generate/cached', { body: { prompt } })
      return (await ask('/generate/cached', { body: { prompt } })).json
    })
    expect(answers).toEqual({ text: '', cached: false })
  })

  const crowd = ({ ask }: Site) =>
    Promise.all(Array.from({ length: 100 }, () => ask('/generate/cached', { body: { prompt } })))
  const allCame = ({ blossom }: Site) =>
    until(
      () => blossom.stats() as unknown as Joined,
      ({ dedupe }) => dedupe.joined === 99,
    )

  test('a hundred callers with the same question cost one generation', async () => {
    const outcome = await sameFromEach({ ...said('Once.'), layers: heldStack }, async (site) => {
      const answers = crowd(site)
      await allCame(site)
      site.gate.open()
      return {
        texts: [...new Set((await answers).map(({ json }) => json.text))],
        requests: site.upstream.requests.length,
      }
    })
    expect(outcome).toEqual({ texts: ['Once.'], requests: 1 })
  }, 20_000)

  test('a hundred callers with the same failing question share its attempts, and the next caller asks again', async () => {
    const outcome = await sameFromEach({ layers: heldStack }, async (site) => {
      const { upstream } = site
      upstream.fail(503, 3)
      const answers = crowd(site)
      await allCame(site)
      site.gate.open()
      const statuses = [...new Set((await answers).map(({ status }) => status))]
      const attempts = upstream.requests.length
      const after = await site.ask('/generate/cached', { body: { prompt } })
      return { statuses, attempts, after: [after.status, after.json.cached] }
    })
    expect(outcome).toEqual({ statuses: [503], attempts: 3, after: [200, false] })
  }, 20_000)
})

interface Joined {
  dedupe: { joined: number }
}
