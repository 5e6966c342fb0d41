import OpenAI from 'openai'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'

describe('responses of the local Blossom', () => {
  let upstream: LocalBlossom
  let openai: OpenAI
  beforeEach(async () => {
    upstream = await startLocalBlossom()
    openai = new OpenAI({ apiKey: 'any', baseURL: `${upstream.url}/v1`, maxRetries: 0 })
  })
  afterEach(() => upstream.close())
  const body = { model: 'openai', input: 'Tell me about tulips' }

  it('give the same content as JSON, as a stream and as a chat', async () => {
    const whole = await openai.responses.create(body)
    const streamed = await openai.responses.stream(body).finalResponse()
    const { choices } = await openai.chat.completions.create({
      model: 'openai',
      messages: [{ role: 'user', content: body.input }],
    })
    expect(whole.output_text).toBe(choices[0]?.message.content)
    expect(streamed.output_text).toBe(whole.output_text)
    expect(streamed.usage).toEqual(whole.usage)
  })

  it('call a tool, and answer once they have its result', async () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' } } }
    const tools = [{ type: 'function' as const, name: 'weather', parameters, strict: false }]
    const asked = { role: 'user' as const, content: 'Please call the tool' }
    const first = await openai.responses.create({ ...body, input: [asked], tools })
    expect(first.output).toMatchObject([{ type: 'function_call', name: 'weather' }])
    const [call] = first.output
    if (call?.type !== 'function_call') throw new Error('It has called no tool.')
    const gave = { type: 'function_call_output' as const, call_id: call.call_id, output: 'Rain' }
    const second = await openai.responses.create({ ...body, input: [asked, call, gave], tools })
    expect(second.output_text).not.toBe('')
  })

  it('are not stored: requests that depend on stored ones are refused', async () => {
    const kept = openai.responses.create({ ...body, store: true })
    await expect(kept).rejects.toMatchObject({ status: 400 })
    const next = openai.responses.create({ ...body, previous_response_id: 'resp_1' })
    await expect(next).rejects.toMatchObject({ status: 400 })
  })

  it('are named in the list of models, unless they are switched off', async () => {
    await using chats = await startLocalBlossom({ responses: false })
    const endpoints = async ({ url }: LocalBlossom) => {
      const { data } = (await (await fetch(`${url}/v1/models`)).json()) as {
        data: { id: string; supported_endpoints: string[] }[]
      }
      return data.find(({ id }) => id === 'openai')?.supported_endpoints
    }
    expect(await endpoints(upstream)).toContain('/v1/responses')
    expect(await endpoints(chats)).not.toContain('/v1/responses')
    const answer = await fetch(`${chats.url}/v1/responses`, { method: 'POST', body: '{}' })
    expect(answer.status).toBe(404)
  })
})
