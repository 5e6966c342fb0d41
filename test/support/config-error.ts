import { expect } from 'vitest'

/** What `toThrow` is given for options that are refused with these words, by this layer. */
export const configError = (words: string, layer?: string) =>
  expect.objectContaining({
    code: 'CONFIG',
    ...(layer !== undefined && { layer }),
    message: expect.stringContaining(words),
  })
