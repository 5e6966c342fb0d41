import OpenAI from 'openai'
import { expect, it } from 'vitest'
import { startLocalBlossom } from '../../../../src/testing/index.js'

const messages = [{ role: 'user' as const, content: 'Tell me about tulips' }]

async function start() {
  const local = await startLocalBlossom()
  const openai = new OpenAI({ baseURL: `${local.url}/v1`, apiKey: 'none' })
  return { openai, [Symbol.asyncDispose]: () => local.close() }
}

it('answers with as many choices as are asked for, each with a text of its own', async () => {
  await using local = await start()
  const ask = (n: number | null) =>
    local.openai.chat.completions.create({ model: 'openai', messages, n })
  const { choices, usage } = await ask(3)
  const { usage: ofOne } = await ask(null)
  expect(choices.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
    [0, 'stop'],
    [1, 'stop'],
    [2, 'stop'],
  ])
  expect(new Set(choices.map(({ message }) => message.content)).size).toBe(3)
  expect(usage?.prompt_tokens).toBe(ofOne?.prompt_tokens)
  expect(usage?.completion_tokens).toBeGreaterThan(2 * (ofOne?.completion_tokens ?? 0))
})

it('streams several choices in turns, and ends each with a reason of its own', async () => {
  await using local = await start()
  const request = { model: 'openai', messages, n: 2 }
  const whole = await local.openai.chat.completions.create(request)
  const texts = ['', '']
  const reasons: (string | null)[] = [null, null]
  for await (const { choices } of await local.openai.chat.completions.create({
    ...request,
    stream: true,
  })) {
    for (const { index, delta, finish_reason } of choices) {
      texts[index] += delta.content ?? ''
      if (finish_reason !== null) reasons[index] = finish_reason
    }
  }
  expect(texts).toEqual(whole.choices.map(({ message }) => message.content))
  expect(reasons).toEqual(['stop', 'stop'])
})

it.each([0, 129, 1.5, 'two'])('refuses %o choices', async (n) => {
  await using local = await start()
  const request = { model: 'openai', messages, n: n as number }
  await expect(local.openai.chat.completions.create(request)).rejects.toMatchObject({ status: 400 })
})

it('embeds one list of tokens as one input, and several as several', async () => {
  await using local = await start()
  const embed = (input: number[] | number[][]) =>
    local.openai.embeddings.create({ model: 'text-embedding-3-small', input })
  const one = await embed([17, 4, 99])
  expect(one.data).toHaveLength(1)
  expect(one.usage.prompt_tokens).toBe(3)
  const several = await embed([[17, 4, 99], [5]])
  expect(several.data.map(({ index }) => index)).toEqual([0, 1])
  expect(several.data[0]?.embedding).toEqual(one.data[0]?.embedding)
  expect(several.usage.prompt_tokens).toBe(4)
  await expect(embed([[]])).rejects.toMatchObject({ status: 400 })
})
