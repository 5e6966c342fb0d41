import { Pollinations } from '@pollinations/sdk'
import { DEADLINE_MS, type MakeContender } from './contender.js'
import { readAll, textOf } from './undici.js'

export const pollinations: MakeContender = (origin) => {
  const client = new Pollinations({
    apiKey: 'sk_bench',
    baseUrl: origin,
    maxRetries: 2,
    timeout: DEADLINE_MS,
  })
  const options = (signal?: AbortSignal) => ({ model: 'openai', ...(signal && { signal }) })
  return {
    call: async (prompt, signal) =>
      textOf(await client.chat([{ role: 'user', content: prompt }], options(signal))),
    stream: async (prompt, signal, onText) =>
      readAll(client.chatStream([{ role: 'user', content: prompt }], options(signal)), onText),
    close: () => {},
  }
}
