import { createEventSource } from 'eventsource-client'
import { ask } from './http.mjs'

export function open(baseURL) {
  const stream = (prompt) => {
    let status
    const source = createEventSource({
      url: `${baseURL}/chat/completions`,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(ask(prompt, { stream: true })),
      // It asks for `no-store`, as every EventSource does, and the gateway would heed it.
      async fetch(url, { cache: _, ...init }) {
        const response = await fetch(url, init)
        status = response.status
        return response
      },
      // It connects anew when a stream has ended, which here is for its user to prevent.
      onDisconnect: () => source.close(),
    })
    return { source, status: () => status }
  }
  const read = async (prompt, enough = Number.POSITIVE_INFINITY) => {
    const { source, status } = stream(prompt)
    let text = ''
    let pieces = 0
    for await (const { data } of source) {
      if (data === '[DONE]') {
        source.close()
        return text
      }
      const { error, choices } = JSON.parse(data)
      if (error) throw new Error(error.message)
      const piece = choices[0]?.delta.content ?? ''
      text += piece
      if (piece !== '' && ++pieces >= enough) break
    }
    source.close()
    if (pieces < enough)
      throw Object.assign(new Error('The stream ended without [DONE].'), { status: status() })
    return text
  }
  return { stream: (prompt) => read(prompt), leave: (prompt) => read(prompt, 1) }
}
