import { createOpenAI } from '@ai-sdk/openai'
import { openWith } from './ai.mjs'

/** `openai('…')`. With tools it must be told that items are not stored. */
export const open = (baseURL) =>
  openWith(createOpenAI({ apiKey: 'any', baseURL }), {
    providerOptions: { openai: { store: false } },
  })
