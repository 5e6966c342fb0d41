import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from 'ai'
import { z } from 'zod'
import { DESCRIPTION } from './weather.mjs'

export const open = (baseURL) =>
  openWith(createOpenAICompatible({ name: 'gateway', apiKey: 'any', baseURL }))

export function openWith(provider, options) {
  const model = provider('openai')
  // By default it repeats what has failed, which is not what is tried here.
  const ask = (prompt, more) => ({ model, prompt, maxRetries: 0, ...more })
  const toolbox = (called) => ({
    ...options,
    stopWhen: stepCountIs(3),
    tools: {
      weather: tool({
        description: DESCRIPTION,
        inputSchema: z.object({ city: z.string() }),
        execute: (input) => {
          called.push({ name: 'weather', input })
          return 'It rains.'
        },
      }),
    },
  })
  return {
    async chat(prompt) {
      return (await generateText(ask(prompt))).text
    },
    async stream(prompt) {
      let text = ''
      let failure
      const result = streamText(ask(prompt, { onError: ({ error }) => (failure = error) }))
      for await (const piece of result.textStream) text += piece
      if (failure) throw failure
      return text
    },
    async structure(prompt) {
      const output = Output.object({ schema: z.object({ city: z.string() }) })
      return (await generateText(ask(prompt, { output }))).output
    },
    async leave(prompt) {
      const leaving = new AbortController()
      const result = streamText(ask(prompt, { abortSignal: leaving.signal, onError() {} }))
      for await (const _ of result.textStream) {
        leaving.abort()
        break
      }
    },
    async tools(prompt) {
      const called = []
      const { text } = await generateText(ask(prompt, toolbox(called)))
      return { ...called[0], text }
    },
    async streamTools(prompt) {
      const called = []
      const result = streamText(ask(prompt, toolbox(called)))
      return { text: await result.text, ...called[0] }
    },
    async embeddings(values) {
      const model = provider.textEmbeddingModel('text-embedding-3-small')
      return (await embedMany({ model, values, maxRetries: 0 })).embeddings
    },
  }
}
