import got from 'got'
import { ask, textOf } from './http.mjs'

export function open(baseURL) {
  const client = got.extend({ prefixUrl: baseURL, retry: { limit: 0 } })
  const stream = (prompt) =>
    client.stream.post('chat/completions', { json: ask(prompt, { stream: true }) })
  return {
    async chat(prompt) {
      const { choices } = await client.post('chat/completions', { json: ask(prompt) }).json()
      return choices[0].message.content
    },
    stream: (prompt) => textOf(stream(prompt)),
    async leave(prompt) {
      const bytes = stream(prompt)
      await textOf(bytes, 1)
      bytes.destroy()
    },
    async embeddings(input) {
      const { data } = await client.post('embeddings', { json: { input } }).json()
      return data.map(({ embedding }) => embedding)
    },
  }
}
