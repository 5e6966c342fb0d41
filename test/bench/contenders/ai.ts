import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText } from 'ai'
import type { MakeContender } from './contender.js'
import { readAll } from './undici.js'

export const ai: MakeContender = (origin) => {
  const model = createOpenAICompatible({
    name: 'blossom',
    apiKey: 'sk_bench',
    baseURL: `${origin}/v1`,
  })('openai')
  const options = (signal?: AbortSignal) => ({
    model,
    maxRetries: 2,
    ...(signal && { abortSignal: signal }),
  })
  return {
    call: async (prompt, signal) => (await generateText({ prompt, ...options(signal) })).text,
    stream: async (prompt, signal, onText) => {
      await readAll(streamText({ prompt, ...options(signal) }).textStream, onText, String)
    },
    close: () => {},
  }
}
