import {
  base,
  type Context,
  type FallbackCandidate,
  type FallbackOptions,
  fallback,
  stack,
} from '../../src/index.js'
import { type UpstreamCode, upstreamError } from './upstream.js'

export interface Ask {
  readonly model: string
  readonly text?: string
  readonly own?: boolean
}

export type Doing = (ask: Ask, context: Context) => unknown

/** A function that does for each model what it is told, and notes which models were asked. */
export function models(doing: Record<string, Doing>) {
  const asked: string[] = []
  const fn = base(
    async (ask: Ask, context: Context): Promise<unknown> => {
      asked.push(ask.model)
      return doing[ask.model]?.(ask, context)
    },
    {
      model: ({ model }) => model,
      withModel: (ask, model) => ({ ...ask, model }),
      ownKey: ({ own }) => own === true,
    },
  )
  return { fn, asked }
}

export const fails =
  (code: UpstreamCode = 'SERVER'): Doing =>
  () => {
    throw upstreamError(code)
  }
export const says =
  (text: unknown): Doing =>
  () =>
    text

/** A fallback around such a function. */
export function fallingBack(
  doing: Record<string, Doing>,
  to: readonly FallbackCandidate<Ask>[],
  options: Omit<FallbackOptions<'fallback', Ask>, 'to' | 'name'> = {},
) {
  const { fn, asked } = models(doing)
  return { ask: stack(fn, fallback({ to, ...options })), asked }
}
