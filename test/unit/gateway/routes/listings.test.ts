import { describe, expect, test } from 'vitest'
import { answerOf, sameFromEach, until } from '../../../support/http-site.js'
import { PROMPT as prompt } from '../../../support/secrets.js'

describe('stats', () => {
  test('pool and queue report their figures in the guide’s terms', async () => {
    const stats = await sameFromEach({}, async ({ ask, upstream }) => {
      await ask('/generate/text', { body: { prompt } })
      upstream.faults.push({ status: 400 })
      await ask('/generate/queued', { body: { prompt } })
      return [(await ask('/pool/stats')).json, (await ask('/queue/stats')).json]
    })
    expect(stats).toEqual([
      { max_connections: 10, active_connections: 0, available_connections: 10 },
      // A failure is processed, too.
      { queue_size: 0, active_tasks: 0, processed_count: 2, max_concurrent: 5 },
    ])
  })

  test('include the generations in progress', async () => {
    const stats = await sameFromEach(
      { upstream: { latencyMs: 60_000 } },
      async ({ ask, visit, upstream }) => {
        for (let i = 0; i < 7; i++)
          void visit('/generate/queued', { body: { prompt } }).catch(() => {})
        await upstream.waitFor(({ active }) => active === 5)
        const stats = await until(
          async () => (await ask('/queue/stats')).json,
          ({ queue_size }) => queue_size === 2,
        )
        const pool = (await ask('/pool/stats')).json
        return [stats, pool]
      },
    )
    expect(stats).toEqual([
      { queue_size: 2, active_tasks: 5, processed_count: 0, max_concurrent: 5 },
      { max_connections: 10, active_connections: 5, available_connections: 5 },
    ])
  })
})

describe('models', () => {
  const gateway = { models: ['openai', 'mistral'] }

  test('a name off the list is refused with 404 on every route before anything is sent', async () => {
    const outcome = await sameFromEach({ gateway }, async ({ ask, upstream }) => {
      const messages = [{ role: 'user', content: prompt }]
      const answers = [
        await ask('/generate/text', { body: { prompt, model: 'gpt-9' } }),
        await ask('/generate/stream', { body: { prompt, model: 'gpt-9' } }),
        await ask('/v1/chat/completions', { body: { messages, model: 'gpt-9' } }),
        await ask('/v1/embeddings', { body: { input: 'a', model: 'gpt-9' } }),
        await ask('/v1/images/generations', { body: { prompt, model: 'gpt-9' } }),
        await ask('/v1/audio/speech', { body: { input: 'a', model: 'gpt-9' } }),
      ]
      return {
        statuses: answers.map(({ status }) => status),
        first: answers[0]!.json.code,
        requests: upstream.requests.length,
      }
    })
    expect(outcome).toEqual({
      statuses: [404, 404, 404, 404, 404, 404],
      first: 'NOT_FOUND',
      requests: 0,
    })
  })

  test('names on the list pass, and the list of models holds only these', async () => {
    const outcome = await sameFromEach({ gateway }, async ({ ask }) => [
      (await ask('/generate/text', { body: { prompt, model: 'mistral' } })).json.model,
      (await ask('/generate/text', { body: { prompt } })).json.model,
      (await ask('/v1/models')).json.data.map(({ id }: { id: string }) => id),
    ])
    expect(outcome).toEqual(['mistral', 'openai', ['openai', 'mistral']])
  })

  test('the default model is never asked for when it is off the list', async () => {
    const outcome = await sameFromEach({ gateway: { models: ['mistral'] } }, async ({ ask }) => [
      (await ask('/generate/text', { body: { prompt } })).json.model,
      (await ask('/generate/batch', { body: { prompts: [prompt] } })).json.processed,
      (
        await ask('/v1/chat/completions', {
          body: { messages: [{ role: 'user', content: prompt }] },
        })
      ).status,
    ])
    expect(outcome).toEqual(['mistral', 1, 400])
  })

  test('without a list any name goes upstream, and its 404 stays a 404', async () => {
    const answer = await answerOf('/generate/text', { body: { prompt, model: 'gpt-9' } })
    expect(answer).toMatchObject({ status: 404, body: { code: 'NOT_FOUND', title: 'Not Found' } })
  })
})
