import ky from 'ky'
import { ask, textOf } from './http.mjs'

export function open(baseURL) {
  const post = (path, json, options) =>
    ky.post(`${baseURL}${path}`, { json, retry: 0, timeout: false, ...options })
  return {
    async chat(prompt) {
      const { choices } = await post('/chat/completions', ask(prompt)).json()
      return choices[0].message.content
    },
    async stream(prompt) {
      return textOf((await post('/chat/completions', ask(prompt, { stream: true }))).body)
    },
    async leave(prompt) {
      const leaving = new AbortController()
      const options = { signal: leaving.signal }
      const { body } = await post('/chat/completions', ask(prompt, { stream: true }), options)
      await textOf(body, 1)
      leaving.abort()
    },
    async embeddings(input) {
      const { data } = await post('/embeddings', { input }).json()
      return data.map(({ embedding }) => embedding)
    },
  }
}
