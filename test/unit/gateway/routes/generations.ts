/** The routes that answer one prompt, and what they add for a reply of `Hello, garden.`. */
export const generations = [
  ['/generate/text', { text: 'Hello, garden.', model: 'openai', tokens_used: 4 }],
  ['/generate/queued', { text: 'Hello, garden.' }],
  ['/generate/retry', { text: 'Hello, garden.' }],
  ['/generate/circuit-breaker', { text: 'Hello, garden.' }],
  ['/generate/cached', { text: 'Hello, garden.', cached: false }],
] as const
