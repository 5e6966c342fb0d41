import { describe, expectTypeOf, it } from 'vitest'
import type {
  LimitCostOptions,
  LimitPlan,
  RateLimitLayer,
  RateLimitSettings,
  RateLimitStats,
  StackEvent,
} from '../../src/core.js'
import {
  BudgetError,
  type Context,
  createBlossom,
  type Layer,
  RateLimitError,
  type RateLimitOptions,
  rateLimit,
  type StackError,
  stack,
} from '../../src/index.js'

const ask = async (request: { user: string }) => request.user

describe('rateLimit', () => {
  it('has its stats under its name', () => {
    const limited = stack(
      ask,
      rateLimit({ requests: 60 }),
      rateLimit({ tokens: 1_000, name: 'providerLimit' }),
    )
    expectTypeOf(limited.stats()).toEqualTypeOf<{
      readonly rateLimit: RateLimitStats
      readonly providerLimit: RateLimitStats
    }>()
    expectTypeOf(limited.stats().providerLimit.waiting).toEqualTypeOf<number>()
    expectTypeOf(rateLimit({ requests: 1 })).toExtend<Layer<'rateLimit', RateLimitStats>>()
    expectTypeOf(
      createBlossom()
        .use(rateLimit({ requests: 1 }))
        .stats(),
    ).toEqualTypeOf<{ readonly rateLimit: RateLimitStats }>()
  })

  it('takes limits in all their forms', () => {
    expectTypeOf(rateLimit).toBeCallableWith({ requests: 60, tokens: (key: string) => key.length })
    expectTypeOf(rateLimit).toBeCallableWith({ requests: { limit: 5, intervalMs: 100, burst: 2 } })
    expectTypeOf(rateLimit).toBeCallableWith({
      cost: {
        limit: 5,
        per: 'day',
        price: (model, { input, output, cachedInput = 0 }) =>
          model === 'free' ? 0 : input + output - cachedInput,
      },
    })
    expectTypeOf(rateLimit).toBeCallableWith({ requests: undefined, tokens: 5, mode: undefined })
    expectTypeOf<LimitPlan>().parameters.toEqualTypeOf<[key: string, context: Context]>()
    expectTypeOf<LimitCostOptions['per']>().toEqualTypeOf<'day' | 'month' | number>()
    // @ts-expect-error no such window
    rateLimit({ cost: { limit: 5, per: 'week', price: () => 1 } })
    // @ts-expect-error without a price
    rateLimit({ cost: { limit: 5, per: 'day' } })
    // @ts-expect-error no such option
    rateLimit({ requests: 5, perSecond: true })
    // @ts-expect-error no such mode
    rateLimit({ requests: 5, mode: 'drop' })
  })

  it('is for requests that its functions are for', () => {
    const byUser = rateLimit({
      requests: 60,
      by: (request: { user: string }, { tenant }) => (tenant ? request.user : undefined),
      countTokens: ({ user }) => user.length,
    })
    expectTypeOf(byUser).toEqualTypeOf<RateLimitLayer<'rateLimit', { user: string }>>()
    expectTypeOf(stack(ask, byUser)).toBeCallableWith({ user: 'a' })
    // @ts-expect-error a function of other requests
    stack(async (text: string) => text, byUser)
    // @ts-expect-error a key that is no text
    rateLimit({ requests: 60, by: () => 5 })
  })

  it('takes what may be changed while it runs', () => {
    const { set } = rateLimit({ requests: 60 })
    expectTypeOf(set).parameters.toEqualTypeOf<[settings: RateLimitSettings]>()
    expectTypeOf(set).toBeCallableWith({ tokens: 5, maxWaitMs: 100 })
    // @ts-expect-error whose calls count together stays
    set({ by: 'all' })
    expectTypeOf<RateLimitOptions>().toExtend<RateLimitSettings>()
  })
})

describe('the errors of a limit', () => {
  it('name what is limited', () => {
    const error = new RateLimitError('x')
    expectTypeOf(error.limit).toEqualTypeOf<number | undefined>()
    expectTypeOf(error.unit).toEqualTypeOf<'requests' | 'tokens' | undefined>()
    expectTypeOf(new BudgetError('x')).toExtend<StackError>()
  })
})

describe('the event budget', () => {
  it('holds what is spent, and what may be', () => {
    expectTypeOf<Extract<StackEvent, { type: 'budget' }>>().toExtend<{
      readonly layer: string
      readonly tenant?: string
      readonly spent: number
      readonly limit: number
    }>()
  })
})
