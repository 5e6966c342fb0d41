import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { TOOLS } from './weather.mjs'

export function open(baseURL) {
  const options = { apiKey: 'any', configuration: { baseURL }, maxRetries: 0 }
  const model = new ChatOpenAI({ model: 'openai', ...options })
  const calledBy = ({ tool_calls: [{ name, args }] }) => ({ name, input: args })
  return {
    async chat(prompt) {
      return (await model.invoke(prompt)).content
    },
    async stream(prompt) {
      let text = ''
      for await (const { content } of await model.stream(prompt)) text += content
      return text
    },
    async leave(prompt) {
      const leaving = new AbortController()
      for await (const { content } of await model.stream(prompt, { signal: leaving.signal })) {
        if (content === '') continue
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
