import { createParser } from 'eventsource-parser'

/** What clients of HTTP share: they send bodies and read events by themselves. */
export const ask = (prompt, more) => ({
  model: 'openai',
  messages: [{ role: 'user', content: prompt }],
  ...more,
})

/** The text of a stream's events, up to `enough` pieces; an event that holds an error throws. */
export async function textOf(bytes, enough = Number.POSITIVE_INFINITY) {
  let text = ''
  let pieces = 0
  let isDone = false
  const decoder = new TextDecoder()
  const parser = createParser({
    onEvent({ data }) {
      if (data === '[DONE]') {
        isDone = true
        return
      }
      const { error, choices } = JSON.parse(data)
      if (error) throw new Error(error.message)
      const piece = choices[0]?.delta.content ?? ''
      if (piece !== '') pieces++
      text += piece
    },
  })
  for await (const part of bytes) {
    parser.feed(decoder.decode(part, { stream: true }))
    if (pieces >= enough) return text
  }
  if (!isDone) throw new Error('The stream ended without [DONE].')
  return text
}
