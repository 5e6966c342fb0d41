import { describe, expectTypeOf, it } from 'vitest'
import type { ChatCompletion } from '../../src/client/index.js'
import type { FallbackStats } from '../../src/core.js'
import {
  type BlossomRequest,
  type Context,
  createBlossom,
  fallback,
  type Layer,
  queue,
  stack,
} from '../../src/index.js'

interface Ask {
  readonly prompt: string
}
declare const ask: (request: Ask) => Promise<string>

describe('fallback', () => {
  it('keeps its name, and request and answer of the function', () => {
    expectTypeOf(fallback({ to: ['mistral'] })).toEqualTypeOf<Layer<'fallback', FallbackStats>>()
    const safe = stack(ask, fallback({ to: ['mistral'], name: 'backup' }))
    expectTypeOf(safe.stats()).toEqualTypeOf<{ readonly backup: FallbackStats }>()
    expectTypeOf(safe).returns.toEqualTypeOf<Promise<string>>()
  })

  it('takes models, clients, stacks and functions', () => {
    const other = stack(ask, queue())
    const client = createBlossom().use(queue())
    stack(
      ask,
      fallback({
        to: [
          'mistral',
          other,
          client,
          { client: other },
          { client, model: 'mistral' },
          { model: 'flux', endpoints: ['/image'] },
          (request: Ask, context, error) => {
            expectTypeOf(context).toEqualTypeOf<Context>()
            expectTypeOf(error).toBeUnknown()
            return request.prompt
          },
        ],
      }),
    )
    createBlossom().use(fallback({ to: [client, ({ path }: BlossomRequest) => path] }))
    fallback({ to: ['a'], accept: ({ choices }: ChatCompletion) => choices.length > 0 })
  })

  it('refuses what is none of these', () => {
    // @ts-expect-error no candidates
    fallback({})
    // @ts-expect-error no list
    fallback({ to: 'mistral' })
    // @ts-expect-error a number
    fallback({ to: [5] })
    // @ts-expect-error a field that does not exist
    fallback({ to: [{ models: ['a'] }] })
    // @ts-expect-error no client
    fallback({ to: [{ client: 'a' }] })
    // @ts-expect-error a function of other requests
    stack(ask, fallback({ to: [(request: { other: number }) => request.other] }))
  })
})
