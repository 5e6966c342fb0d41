import OpenAI from 'openai'
import { chatRequest, DEADLINE_MS, type MakeContender } from './contender.js'
import { readAll, textOf } from './undici.js'

export const openai: MakeContender = (origin) => {
  const client = new OpenAI({
    apiKey: 'sk_bench',
    baseURL: `${origin}/v1`,
    maxRetries: 2,
    timeout: DEADLINE_MS,
  })
  const bodyOf = (prompt: string) => {
    const { model, messages } = chatRequest(prompt)
    return { model, messages: [...messages] }
  }
  return {
    call: async (prompt, signal) =>
      textOf(await client.chat.completions.create(bodyOf(prompt), { signal })),
    stream: async (prompt, signal, onText) =>
      readAll(
        await client.chat.completions.create({ ...bodyOf(prompt), stream: true }, { signal }),
        onText,
      ),
    close: () => {},
  }
}
