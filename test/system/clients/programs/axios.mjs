import axios from 'axios'
import { ask, textOf } from './http.mjs'

export function open(baseURL) {
  const client = axios.create({ baseURL })
  const stream = async (prompt, signal) => {
    const options = { responseType: 'stream', signal }
    return (await client.post('/chat/completions', ask(prompt, { stream: true }), options)).data
  }
  return {
    async chat(prompt) {
      const { data } = await client.post('/chat/completions', ask(prompt))
      return data.choices[0].message.content
    },
    stream: async (prompt) => textOf(await stream(prompt)),
    async leave(prompt) {
      const leaving = new AbortController()
      await textOf(await stream(prompt, leaving.signal), 1)
      leaving.abort()
    },
    async embeddings(input) {
      const { data } = await client.post('/embeddings', { input })
      return data.data.map(({ embedding }) => embedding)
    },
  }
}
