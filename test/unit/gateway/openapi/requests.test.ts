import fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { send } from '../../../support/openapi.js'
import { openDocumented, PROMPT } from './documented.js'

const { upstream, gateway, contract, close } = await openDocumented()
afterAll(close)
beforeEach(() => upstream.reset())

/** Bodies on both sides of every limit. Numbers are near their ends more often than not. */
const near = ({ min, max }: { min: number; max: number }) =>
  fc.oneof(
    fc.constantFrom(min - 1, min, min + 0.5, min + 1, max - 1, max, max + 1e-9, max + 1),
    fc.integer({ min: -5, max: max + 5 }),
  )
const odd = fc.constantFrom<unknown>(
  null,
  true,
  '',
  ' ',
  '\t\n\u00a0\ufeff',
  'word',
  0,
  -1,
  [],
  ['word'],
  {},
  { a: 1 },
)
const maybe = (...values: fc.Arbitrary<unknown>[]) =>
  fc.option(fc.oneof(...values, odd), { nil: undefined })

const generateBody = fc.record({
  prompt: fc.oneof(
    { weight: 3, arbitrary: fc.constant('Hello') },
    { weight: 1, arbitrary: maybe(fc.string({ maxLength: 3 })) },
  ),
  max_tokens: maybe(near({ min: 1, max: 32_768 })),
  temperature: maybe(near({ min: 0, max: 2 })),
  model: maybe(fc.constant('openai')),
  more: maybe(fc.anything({ maxDepth: 1 })),
})
const lengths = fc.constantFrom(0, 1, 2, 100, 101)
const batchBody = fc.record({
  prompts: fc.oneof(
    { weight: 4, arbitrary: lengths.map((length) => Array.from({ length }, () => 'Hello')) },
    maybe(fc.array(odd)),
  ),
  batch_size: maybe(near({ min: 1, max: 100 })),
})

describe('the request schemas and the validators', () => {
  const agrees = async (path: string, body: unknown) => {
    const text = JSON.stringify(body)
    const response = await send(gateway, 'POST', path, text)
    await response.body?.cancel()
    expect([path, text, response.status !== 400]).toEqual([
      path,
      text,
      contract.requestOf('POST', path)(JSON.parse(text)),
    ])
  }

  it.each(['text', 'queued', 'retry', 'circuit-breaker', 'cached', 'stream'])(
    'agree on /generate/%s',
    async (name) => {
      await fc.assert(
        fc.asyncProperty(generateBody, (body) => agrees(`/generate/${name}`, body)),
        { numRuns: 60 },
      )
    },
  )

  it('agree on /generate/batch', async () => {
    await fc.assert(
      fc.asyncProperty(batchBody, (body) => agrees('/generate/batch', body)),
      { numRuns: 40 },
    )
  })

  it.each([
    [
      '/generate/text',
      [
        [],
        'text',
        1,
        null,
        {},
        PROMPT,
        { ...PROMPT, max_tokens: 1e15 },
        { ...PROMPT, temperature: -0 },
      ],
    ],
    [
      '/generate/batch',
      [{ prompts: 'Hello' }, { prompts: { length: 1 } }, { prompts: [1, null, '', 'Hello'] }],
    ],
    [
      '/v1/chat/completions',
      [
        {},
        { messages: [] },
        { messages: null },
        { messages: 'Hello' },
        { messages: ['Hello'] },
        { messages: [{ role: 'user', content: 'Hello' }], stream: 'true' },
        { messages: [{ role: 'user', content: 'Hello' }], model: '' },
      ],
    ],
    [
      '/v1/chat/completions',
      [{ messages: [{ role: 'user', content: 'Hello' }], model: null, unheard_of: [] }],
    ],
    [
      '/v1/embeddings',
      [
        {},
        { input: null },
        { input: 'Hello' },
        { input: ['Hello', 'again'] },
        { input: 'Hello', model: 5 },
        { input: 5 },
        { input: {} },
      ],
    ],
    [
      '/v1/images/generations',
      [{}, { prompt: ' ' }, { prompt: 7 }, { prompt: 'Roses', size: '64x64' }],
    ],
    ['/v1/audio/speech', [{}, { input: '' }, { input: ['Hello'] }, { input: 'Hello' }]],
    [
      '/v1/responses',
      [{}, { input: '' }, { input: [] }, { input: 5 }, { input: 'Hello', stream: 'true' }],
    ],
    ['/v1/responses', [{ input: 'Hello' }, { input: [{ role: 'user', content: 'Hello' }] }]],
  ])('agree at the edges of %s', async (path, bodies) => {
    for (const body of bodies as unknown[]) await agrees(path, body)
  })
})
