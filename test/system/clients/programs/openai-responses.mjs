import OpenAI from 'openai'
import { DESCRIPTION, PARAMETERS } from './weather.mjs'

const TOOLS = [
  {
    type: 'function',
    name: 'weather',
    description: DESCRIPTION,
    parameters: PARAMETERS,
    strict: true,
  },
]
const FORMAT = { type: 'json_schema', name: 'place', schema: PARAMETERS, strict: true }

export function open(baseURL) {
  const { responses } = new OpenAI({ apiKey: 'any', baseURL })
  const ask = (input, more) => ({ model: 'openai', input, ...more })
  const calledBy = ({ output }) => {
    const call = output.find(({ type }) => type === 'function_call')
    return { name: call.name, input: JSON.parse(call.arguments) }
  }
  return {
    chat: async (prompt) => (await responses.create(ask(prompt))).output_text,
    async stream(prompt) {
      let text = ''
      for await (const event of await responses.create(ask(prompt, { stream: true }))) {
        if (event.type === 'response.output_text.delta') text += event.delta
        if (event.type === 'error') throw new Error(event.message)
      }
      return text
    },
    async leave(prompt) {
      for await (const { type } of await responses.create(ask(prompt, { stream: true })))
        if (type === 'response.output_text.delta') break
    },
    tools: async (prompt) => calledBy(await responses.create(ask(prompt, { tools: TOOLS }))),
    streamTools: async (prompt) =>
      calledBy(await responses.stream(ask(prompt, { tools: TOOLS })).finalResponse()),
    async structure(prompt) {
      const { output_text } = await responses.create(ask(prompt, { text: { format: FORMAT } }))
      return JSON.parse(output_text)
    },
    async usage(prompt) {
      const { usage } = await responses.stream(ask(prompt)).finalResponse()
      return usage.total_tokens
    },
  }
}
