import { describe, expect, test } from 'vitest'
import { answerOf, type SiteOptions, sameFromEach } from '../../../support/http-site.js'

describe('batch', () => {
  const prompts = (count: number) => Array.from({ length: count }, (_, i) => `prompt ${i}`)
  const echo: SiteOptions = {
    upstream: {
      reply: ({ body }) =>
        `re: ${(body as { messages: { content: string }[] }).messages[0]!.content}`,
    },
  }
  const batch = (body: object, options: SiteOptions = echo) =>
    answerOf('/generate/batch', { body }, options)

  test('returns results in the order of the prompts', async () => {
    const { status, body } = await batch({ prompts: prompts(12), batch_size: 4 })
    expect(status).toBe(200)
    expect(body).toEqual({
      total: 12,
      processed: 12,
      results: prompts(12).map((one) => `re: ${one}`),
    })
  })

  test('accepts one to a hundred prompts, and refuses none or a hundred and one', async () => {
    expect((await batch({ prompts: prompts(1) })).body).toMatchObject({ total: 1, processed: 1 })
    expect((await batch({ prompts: prompts(100), batch_size: 100 })).body).toMatchObject({
      total: 100,
      processed: 100,
    })
    expect(await batch({ prompts: [] })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'prompts' }] },
    })
    expect(await batch({ prompts: prompts(101) })).toMatchObject({
      status: 400,
      body: { detail: 'Too many prompts. Maximum is 100.' },
    })
  })

  test.each([[0], [-1], [1e9], [1.5], ['5']])('batch_size %j is refused', async (batch_size) => {
    expect(await batch({ prompts: prompts(2), batch_size })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'batch_size' }] },
    })
  })

  test.each([[undefined], ['a'], [{ 0: 'a' }], [5], [[5]], [['a', null]], [['a', ['b']]]])(
    'prompts that are %j are refused',
    async (value) => {
      expect(await batch({ prompts: value })).toMatchObject({
        status: 400,
        body: { errors: [{ field: 'prompts' }] },
      })
    },
  )

  test('an empty or failing prompt keeps its place and costs one result', async () => {
    const outcome = await sameFromEach(echo, async ({ ask, upstream }) => {
      upstream.faults.push({ status: 422, match: ({ rawBody }) => rawBody.includes('refuse me') })
      const { status, json } = await ask('/generate/batch', {
        body: { prompts: ['a', '', 'refuse me', 'b'], batch_size: 1 },
      })
      return { status, total: json.total, processed: json.processed, results: json.results }
    })
    expect(outcome).toMatchObject({ status: 200, total: 4, processed: 2 })
    const [a, empty, refused, b] = outcome.results
    expect([a, b]).toEqual(['re: a', 're: b'])
    expect(empty.error).toMatchObject({ code: 'VALIDATION', message: expect.any(String) })
    expect(refused.error).toMatchObject({ code: 'BAD_REQUEST', message: expect.any(String) })
  })

  test('answers 200 even when every prompt fails', async () => {
    const outcome = await sameFromEach({}, async ({ ask, upstream }) => {
      upstream.faults.push({ status: 400, times: 3 })
      const { status, json } = await ask('/generate/batch', { body: { prompts: prompts(3) } })
      return {
        status,
        processed: json.processed,
        codes: json.results.map((one: { error: { code: string } }) => one.error.code),
      }
    })
    expect(outcome).toEqual({
      status: 200,
      processed: 0,
      codes: ['BAD_REQUEST', 'BAD_REQUEST', 'BAD_REQUEST'],
    })
  })
})
