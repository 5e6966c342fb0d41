import {
  Agent,
  run,
  setDefaultOpenAIClient,
  setOpenAIAPI,
  setTracingDisabled,
  tool,
} from '@openai/agents'
import OpenAI from 'openai'
import { z } from 'zod'
import { DESCRIPTION } from './weather.mjs'

export const open = (baseURL) => openWith(baseURL, 'chat_completions')

export function openWith(baseURL, api) {
  setDefaultOpenAIClient(new OpenAI({ apiKey: 'any', baseURL }))
  // Without it the API is Responses.
  if (api !== undefined) setOpenAIAPI(api)
  setTracingDisabled(true)
  const agent = new Agent({ name: 'Assistant', model: 'openai' })
  const Place = z.object({ city: z.string() })
  const equipped = (called) =>
    new Agent({
      name: 'Assistant',
      model: 'openai',
      tools: [
        tool({
          name: 'weather',
          description: DESCRIPTION,
          parameters: Place,
          execute: (input) => {
            called.push({ name: 'weather', input })
            return 'It rains.'
          },
        }),
      ],
    })
  return {
    async chat(prompt) {
      return (await run(agent, prompt)).finalOutput
    },
    async stream(prompt) {
      let text = ''
      const result = await run(agent, prompt, { stream: true })
      for await (const piece of result.toTextStream()) text += piece
      await result.completed
      return text
    },
    async structure(prompt) {
      const asked = new Agent({ name: 'Assistant', model: 'openai', outputType: Place })
      return (await run(asked, prompt)).finalOutput
    },
    async leave(prompt) {
      const leaving = new AbortController()
      const result = await run(agent, prompt, { stream: true, signal: leaving.signal })
      for await (const _ of result.toTextStream()) {
        leaving.abort()
        break
      }
      await result.completed.catch(() => {})
    },
    async tools(prompt) {
      const called = []
      const { finalOutput } = await run(equipped(called), prompt)
      return { ...called[0], text: finalOutput }
    },
    async streamTools(prompt) {
      const called = []
      const result = await run(equipped(called), prompt, { stream: true })
      await result.completed
      return { ...called[0], text: result.finalOutput }
    },
  }
}
