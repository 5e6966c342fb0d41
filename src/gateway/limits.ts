/** A number in a body: what it is when it is not given, and what it may be. */
export interface Limit {
  readonly fallback: number
  readonly min: number
  readonly max: number
}

/** More in one request is a mistake or an attack; upstream has limits of its own below it. */
export const MAX_TOKENS: Limit = { fallback: 100, min: 1, max: 32_768 }
export const TEMPERATURE: Limit = { fallback: 0.7, min: 0, max: 2 }
export const MAX_PROMPTS = 100
export const BATCH_SIZE: Limit = { fallback: 5, min: 1, max: MAX_PROMPTS }
