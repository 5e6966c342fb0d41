import Anthropic from '@anthropic-ai/sdk'
import { DESCRIPTION, PARAMETERS } from './weather.mjs'

const TOOLS = [{ name: 'weather', description: DESCRIPTION, input_schema: PARAMETERS }]

export function open(baseURL) {
  const root = baseURL.replace(/\/v1$/, '')
  const { messages } = new Anthropic({ apiKey: 'any', baseURL: root, maxRetries: 0 })
  const ask = (content, more) => ({
    model: 'openai',
    max_tokens: 100_000,
    messages: [{ role: 'user', content }],
    ...more,
  })
  const textIn = ({ content }) => content.map(({ text = '' }) => text).join('')
  const calledBy = ({ content }) => {
    const { name, input } = content.find(({ type }) => type === 'tool_use')
    return { name, input }
  }
  return {
    // It refuses to wait for a long answer that is not streamed.
    chat: async (prompt) => textIn(await messages.create(ask(prompt, { max_tokens: 1_000 }))),
    async stream(prompt) {
      let text = ''
      const stream = messages.stream(ask(prompt))
      stream.on('text', (delta) => (text += delta))
      await stream.finalMessage()
      return text
    },
    async leave(prompt) {
      for await (const { type } of await messages.create(ask(prompt, { stream: true })))
        if (type === 'content_block_delta') break
    },
    tools: async (prompt) =>
      calledBy(await messages.create(ask(prompt, { max_tokens: 1_000, tools: TOOLS }))),
    streamTools: async (prompt) =>
      calledBy(await messages.stream(ask(prompt, { tools: TOOLS })).finalMessage()),
  }
}
