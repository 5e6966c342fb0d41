import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { z } from 'zod'
import { TOOLS } from './weather.mjs'

export const open = (baseURL) => openWith(baseURL)

export function openWith(baseURL, more) {
  const options = { apiKey: 'any', configuration: { baseURL }, maxRetries: 0 }
  const model = new ChatOpenAI({ model: 'openai', ...options, ...more })
  const calledBy = ({ tool_calls: [{ name, args }] }) => ({ name, input: args })
  return {
    async chat(prompt) {
      return (await model.invoke(prompt)).text
    },
    async stream(prompt) {
      let text = ''
      for await (const chunk of await model.stream(prompt)) text += chunk.text
      return text
    },
    structure: (prompt) =>
      model.withStructuredOutput(z.object({ city: z.string() }), { name: 'place' }).invoke(prompt),
    async leave(prompt) {
      const leaving = new AbortController()
      for await (const { text } of await model.stream(prompt, { signal: leaving.signal })) {
        if (text === '') continue
        leaving.abort()
        break
      }
    },
    async tools(prompt) {
      return calledBy(await model.bindTools(TOOLS).invoke(prompt))
    },
    async streamTools(prompt) {
      let whole
      for await (const chunk of await model.bindTools(TOOLS).stream(prompt))
        whole = whole?.concat(chunk) ?? chunk
      return calledBy(whole)
    },
    embeddings: (texts) =>
      new OpenAIEmbeddings({ model: 'text-embedding-3-small', ...options }).embedDocuments(texts),
  }
}
