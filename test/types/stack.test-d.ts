import type { Readable } from 'node:stream'
import { describe, expectTypeOf, it } from 'vitest'
import {
  base,
  type CallOptions,
  type Context,
  defineLayer,
  type Handed,
  type Handler,
  type Layer,
  type LayerDescription,
  type LayerOf,
  type Stack,
  type StackStats,
  stack,
} from '../../src/core/index.js'

interface Order {
  readonly id: number
}
interface Invoice {
  readonly total: number
}
declare const bill: (order: Order) => Promise<Invoice>

declare const retry: Layer<'retry', { readonly retries: number }>
declare const timeout: Layer<'timeout', { readonly fired: number }>
declare const attempt: Layer<'attempt', { readonly fired: number }>
declare const forInvoices: Layer<'invoices', { readonly sum: number }, Order, Invoice>
declare const billing: LayerOf<Order, Invoice>
declare const forTexts: Layer<'texts', object, string, string>

declare const plain: LayerOf<string, string>
declare const lines: (path: string) => Promise<AsyncIterable<string>>
declare const bytes: () => ReadableStream<Uint8Array>
declare const either: (stream: boolean) => Promise<Invoice | AsyncIterable<string>>
declare const handler: Handler<Order, Invoice>

describe('stack', () => {
  it('keeps request and answer of a function that has nothing to do with any AI', () => {
    const ask = stack(bill, timeout, retry)
    expectTypeOf(ask).toBeCallableWith({ id: 1 })
    expectTypeOf(ask).toBeCallableWith({ id: 1 }, { timeoutMs: 5, priority: 1 })
    expectTypeOf(ask).parameters.toEqualTypeOf<[request: Order, options?: CallOptions]>()
    expectTypeOf(ask).returns.toEqualTypeOf<Promise<Invoice>>()
    expectTypeOf(stack(bill)).returns.toEqualTypeOf<Promise<Invoice>>()
    // @ts-expect-error a request of another type
    ask({ id: 'one' })
    // @ts-expect-error the request is missing
    ask()
    // @ts-expect-error an option that does not exist
    ask({ id: 1 }, { timeout: 5 })
  })

  it('takes functions that answer without a promise', () => {
    expectTypeOf(stack((text: string) => text.length)).returns.toEqualTypeOf<Promise<number>>()
    expectTypeOf(stack((n: number): number | Promise<string> => n)).returns.toEqualTypeOf<
      Promise<number | string>
    >()
  })

  it('takes functions without parameters, or with an optional request', () => {
    const now = stack(async () => new Date())
    expectTypeOf(now).toBeCallableWith()
    expectTypeOf(now).toBeCallableWith(undefined, { timeoutMs: 5 })
    expectTypeOf(now).returns.toEqualTypeOf<Promise<Date>>()
    const page = stack(async (of?: number) => [of])
    expectTypeOf(page).toBeCallableWith()
    expectTypeOf(page).toBeCallableWith(2)
    // @ts-expect-error a request of another type
    page('two')
  })

  it('gives the base its context', () => {
    expectTypeOf(
      stack(async (order: Order, { signal }: Context) => ({ order, signal })),
    ).returns.toEqualTypeOf<Promise<{ order: Order; signal: AbortSignal }>>()
  })

  it('refuses functions of more arguments', () => {
    // @ts-expect-error the second argument is the context
    stack(async (a: string, b: number) => [a, b])
    // @ts-expect-error there is no third argument
    stack(async (a: string, _: Context, c: number) => [a, c])
  })

  it('refuses what is no function', () => {
    // @ts-expect-error no function
    stack('ask')
    // @ts-expect-error no layer
    stack(bill, 'retry')
    // @ts-expect-error a factory that was not called
    stack(bill, (): Layer => retry)
  })

  it('refuses a layer for other requests or answers', () => {
    stack(bill, forInvoices)
    // @ts-expect-error it is for texts
    stack(bill, forTexts)
    // @ts-expect-error it is for invoices
    stack(async (text: string) => text, forInvoices)
    // @ts-expect-error one wrong among good ones
    stack(bill, retry, forTexts, timeout)
    // @ts-expect-error a plain function for texts
    stack(bill, plain)
  })

  it('types plain functions by the base', () => {
    stack(bill, (next) => async (request, context) => {
      expectTypeOf(request).toEqualTypeOf<Order>()
      expectTypeOf(context).toEqualTypeOf<Context>()
      const answer = await next(request, context)
      expectTypeOf(answer).toEqualTypeOf<Invoice>()
      return answer
    })
    // @ts-expect-error it changes the answer
    stack(bill, () => async () => 'text')
  })

  it('hands streams out as async generators', () => {
    async function* count(to: number) {
      for (let i = 0; i < to; i++) yield i
    }
    expectTypeOf(stack(count, retry)).returns.toEqualTypeOf<
      Promise<AsyncGenerator<number, undefined, undefined>>
    >()
    expectTypeOf(stack(lines)).returns.toEqualTypeOf<
      Promise<AsyncGenerator<string, undefined, undefined>>
    >()
    expectTypeOf(stack(bytes)).returns.resolves.toEqualTypeOf<
      AsyncGenerator<Uint8Array, undefined, undefined>
    >()
    expectTypeOf(stack(either)).returns.resolves.toEqualTypeOf<
      Invoice | AsyncGenerator<string, undefined, undefined>
    >()
  })

  it('gives nothing of type any', () => {
    const ask = stack(bill, timeout, retry)
    expectTypeOf(ask).not.toBeAny()
    expectTypeOf(ask).returns.resolves.not.toBeAny()
    expectTypeOf(ask.stats()).not.toBeAny()
    expectTypeOf(ask.stats().timeout).not.toBeAny()
    expectTypeOf(ask.describe()).toEqualTypeOf<LayerDescription[]>()
    expectTypeOf(ask.describe()[0]!.stats).toEqualTypeOf<object>()
    expectTypeOf(ask.close()).toEqualTypeOf<Promise<void>>()
    expectTypeOf(stack(async () => JSON.parse('1') as unknown)).returns.resolves.toBeUnknown()
  })

  it('keys stats by the names of the layers and numbers equal ones', () => {
    const stats = stack(
      bill,
      timeout,
      retry,
      timeout as typeof timeout,
      attempt,
      timeout as typeof timeout,
    ).stats()
    expectTypeOf(stats).toEqualTypeOf<{
      readonly timeout: { readonly fired: number }
      readonly retry: { readonly retries: number }
      readonly timeout2: { readonly fired: number }
      readonly attempt: { readonly fired: number }
      readonly timeout3: { readonly fired: number }
    }>()
    // @ts-expect-error no such layer
    stats.cache
    // @ts-expect-error a stack without layers has no stats
    stack(bill).stats().timeout
  })

  it('leaves plain functions out of the stats', () => {
    const plain = (next: Handler<Order, Invoice>) => next
    expectTypeOf(stack(bill, plain, retry, plain).stats()).toEqualTypeOf<{
      readonly retry: { readonly retries: number }
    }>()
  })

  it('takes a stack for its base', () => {
    const inner = stack(bill, retry)
    const outer = stack(inner, timeout)
    expectTypeOf(outer).parameter(0).toEqualTypeOf<Order>()
    expectTypeOf(outer).returns.resolves.toEqualTypeOf<Invoice>()
    expectTypeOf(outer.stats()).toEqualTypeOf<{ readonly timeout: { readonly fired: number } }>()
    expectTypeOf(outer).toExtend<Stack<Order, Invoice, readonly [typeof timeout]>>()
  })
})

describe('Handed', () => {
  it('leaves values as they are', () => {
    expectTypeOf<Handed<string>>().toEqualTypeOf<string>()
    expectTypeOf<Handed<string[]>>().toEqualTypeOf<string[]>()
    expectTypeOf<Handed<Iterable<number>>>().toEqualTypeOf<Iterable<number>>()
    expectTypeOf<Handed<Uint8Array>>().toEqualTypeOf<Uint8Array>()
    expectTypeOf<Handed<unknown>>().toBeUnknown()
  })

  it('makes an async generator of every async iterable', () => {
    expectTypeOf<Handed<AsyncIterable<number>>>().toEqualTypeOf<
      AsyncGenerator<number, undefined, undefined>
    >()
    expectTypeOf<Handed<AsyncGenerator<string, number, boolean>>>().toEqualTypeOf<
      AsyncGenerator<string, undefined, undefined>
    >()
    expectTypeOf<Handed<Readable>>().toExtend<AsyncGenerator<unknown, undefined, undefined>>()
  })
})

describe('StackStats', () => {
  it('passes numbers by that are taken', () => {
    type Named<Name extends string> = Layer<Name, { readonly of: Name }>
    expectTypeOf<keyof StackStats<[Named<'a2'>, Named<'a'>, Named<'a'>]>>().toEqualTypeOf<
      'a2' | 'a' | 'a3'
    >()
  })
})

describe('defineLayer', () => {
  it('infers name and stats', () => {
    const layer = defineLayer({ name: 'count', wrap: (next) => next, stats: () => ({ calls: 0 }) })
    expectTypeOf(layer).toEqualTypeOf<Layer<'count', { calls: number }, unknown, unknown>>()
    expectTypeOf(stack(bill, layer).stats().count).toEqualTypeOf<{ calls: number }>()
  })

  it('knows requests and answers only as unknown unless it is told', () => {
    defineLayer({
      name: 'any',
      wrap: (next) => (request, context) => {
        expectTypeOf(request).toBeUnknown()
        expectTypeOf(context).toEqualTypeOf<Context>()
        expectTypeOf(next).toEqualTypeOf<Handler<unknown, unknown>>()
        return next(request, context)
      },
    })
    const invoices = defineLayer<'invoices', object, Order, Invoice>({
      name: 'invoices',
      wrap: (next) => async (request, context) => {
        expectTypeOf(request).toEqualTypeOf<Order>()
        return { total: (await next(request, context)).total + 1 }
      },
    })
    stack(bill, invoices)
    // @ts-expect-error it is for invoices
    stack(async (text: string) => text, invoices)
  })

  it('has no stats to read when it defines none', () => {
    const stats = stack(bill, defineLayer({ name: 'plain', wrap: (next) => next })).stats()
    expectTypeOf<keyof typeof stats>().toEqualTypeOf<'plain'>()
    expectTypeOf<keyof typeof stats.plain>().toBeNever()
  })

  it('refuses what it does not know', () => {
    // @ts-expect-error a misspelt hook
    defineLayer({ name: 'x', wrap: (next) => next, clsoe: () => {} })
    // @ts-expect-error no wrap
    defineLayer({ name: 'x' })
  })
})

describe('base', () => {
  it('types the traits by the function', () => {
    async function* words(request: { text: string }) {
      yield* request.text.split(' ')
    }
    const told = base(words, {
      streams: (request) => {
        expectTypeOf(request).toEqualTypeOf<{ text: string }>()
        return true
      },
      key: (request, use) => {
        expectTypeOf(use).toEqualTypeOf<'cache' | 'dedupe'>()
        return request.text
      },
      commits: (chunk) => {
        expectTypeOf(chunk).toEqualTypeOf<string>()
        return chunk !== ''
      },
      complete: (chunks) => {
        expectTypeOf(chunks).toEqualTypeOf<readonly string[]>()
        return true
      },
    })
    expectTypeOf(stack(told)).parameter(0).toEqualTypeOf<{ text: string }>()
    expectTypeOf(stack(told)).returns.resolves.toEqualTypeOf<
      AsyncGenerator<string, undefined, undefined>
    >()
  })

  it('types them for values too', () => {
    base(bill, {
      key: (order) => `${order.id}`,
      split: (order) => {
        expectTypeOf(order).toEqualTypeOf<Order>()
        return undefined
      },
    })
    expectTypeOf(stack(base(bill, {}))).returns.resolves.toEqualTypeOf<Invoice>()
  })

  it('is inferred in place, beside layers that are typed for it', () => {
    const ask = stack(
      base(bill, { key: (order) => `${order.id}` }),
      billing,
      forInvoices,
      (next) => (request, context) => {
        expectTypeOf(request).toEqualTypeOf<Order>()
        return next(request, context)
      },
    )
    expectTypeOf(ask).parameter(0).toEqualTypeOf<Order>()
    expectTypeOf(ask).returns.resolves.toEqualTypeOf<Invoice>()
  })

  it('keeps the type of the function', () => {
    expectTypeOf(base(bill, {})).toEqualTypeOf<typeof bill>()
  })

  it('refuses unknown traits and wrong results', () => {
    // @ts-expect-error a misspelt trait
    base(bill, { stream: () => true })
    // @ts-expect-error a key is a string
    base(bill, { key: (order) => order.id })
  })
})

describe('Layer', () => {
  it('is a function that keeps the types it is given', () => {
    expectTypeOf(retry(handler)).toEqualTypeOf<Handler<Order, Invoice>>()
    expectTypeOf(retry.name).toEqualTypeOf<'retry'>()
    expectTypeOf(retry).toExtend<Layer>()
  })
})
