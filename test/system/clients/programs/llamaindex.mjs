import { OpenAI, OpenAIEmbedding } from '@llamaindex/openai'

export function open(baseURL) {
  // It has no option to end a request, and goes on when its reader stops: `fetch` can end it.
  let leaving = new AbortController()
  const additionalSessionOptions = {
    fetch: (url, init) =>
      fetch(url, { ...init, signal: AbortSignal.any([init.signal, leaving.signal]) }),
  }
  const options = { apiKey: 'any', baseURL, maxRetries: 0, additionalSessionOptions }
  const model = new OpenAI({ model: 'gpt-4o-mini', ...options })
  const messages = (prompt) => [{ role: 'user', content: prompt }]
  const calledBy = ({ toolCall: [{ name, input }] }) => ({
    name,
    input: typeof input === 'string' ? JSON.parse(input) : input,
  })
  const weather = {
    metadata: {
      name: 'weather',
      description: 'Tells the weather in a city.',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
    call: () => 'It rains.',
  }
  return {
    async chat(prompt) {
      return (await model.chat({ messages: messages(prompt) })).message.content
    },
    async stream(prompt) {
      let text = ''
      for await (const { delta } of await model.chat({ messages: messages(prompt), stream: true }))
        text += delta
      return text
    },
    async leave(prompt) {
      for await (const { delta } of await model.chat({ messages: messages(prompt), stream: true }))
        if (delta) break
      leaving.abort()
      leaving = new AbortController()
    },
    async tools(prompt) {
      const { message } = await model.chat({ messages: messages(prompt), tools: [weather] })
      return calledBy(message.options)
    },
    async streamTools(prompt) {
      let called
      const asked = { messages: messages(prompt), tools: [weather], stream: true }
      for await (const { options } of await model.chat(asked))
        if (options?.toolCall) called = options
      return calledBy(called)
    },
    embeddings: (texts) =>
      new OpenAIEmbedding({ model: 'text-embedding-3-small', ...options }).getTextEmbeddings(texts),
  }
}
