import OpenAI from 'openai'
import { TOOLS } from './weather.mjs'

export function open(baseURL) {
  const client = new OpenAI({ apiKey: 'any', baseURL })
  const { completions } = client.chat
  const ask = (prompt, more) => ({
    model: 'openai',
    messages: [{ role: 'user', content: prompt }],
    ...more,
  })
  const calledBy = ({ tool_calls: [call] }) => ({
    name: call.function.name,
    input: JSON.parse(call.function.arguments),
  })
  return {
    async chat(prompt) {
      const { choices } = await completions.create(ask(prompt))
      return choices[0].message.content
    },
    async stream(prompt) {
      let text = ''
      for await (const { choices } of await completions.create(ask(prompt, { stream: true })))
        text += choices[0].delta.content ?? ''
      return text
    },
    async leave(prompt) {
      for await (const { choices } of await completions.create(ask(prompt, { stream: true })))
        if (choices[0].delta.content) break
    },
    async tools(prompt) {
      const { choices } = await completions.create(ask(prompt, { tools: TOOLS }))
      return calledBy(choices[0].message)
    },
    async streamTools(prompt) {
      return calledBy(await completions.stream(ask(prompt, { tools: TOOLS })).finalMessage())
    },
    async usage(prompt) {
      const options = { stream: true, stream_options: { include_usage: true } }
      let total
      for await (const { usage } of await completions.create(ask(prompt, options)))
        total = usage?.total_tokens ?? total
      return total
    },
    async embeddings(input) {
      const { data } = await client.embeddings.create({ model: 'text-embedding-3-small', input })
      return data.map(({ embedding }) => embedding)
    },
  }
}
