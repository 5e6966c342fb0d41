import fc from 'fast-check'
import { expect, it, vi } from 'vitest'
import {
  base,
  type Context,
  collect,
  fallback,
  queue,
  StackError,
  stack,
} from '../../../../src/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'

useFakeTimers()

/** What one model does with each call. */
interface Plan {
  readonly delayMs: number
  readonly does: 'answers' | 'streams' | 'breaks' | 'fails' | 'refuses' | 'hangs'
}

const MODELS = ['first', 'second', 'third', 'fourth']

const plan = fc.record<Plan>({
  delayMs: fc.integer({ min: 0, max: 60 }),
  does: fc.constantFrom('answers', 'streams', 'breaks', 'fails', 'refuses', 'hangs'),
})
const call = fc.record({
  atMs: fc.integer({ min: 0, max: 200 }),
  timeoutMs: fc.integer({ min: 1, max: 150 }),
  leaves: fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined }),
})

const fail = (code: 'SERVER' | 'BAD_REQUEST', status: number) =>
  new StackError('on purpose', { code, status })

const wait = (ms: number, { cancel }: Context) =>
  new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    cancel.onAbort((reason) => {
      clearTimeout(timer)
      reject(reason)
    })
  })

interface Ask {
  readonly id: number
  readonly model: string
}

function upstream(plans: readonly Plan[]) {
  const asked: string[] = []
  const fn = base(
    async ({ id, model }: Ask, context: Context): Promise<unknown> => {
      asked.push(`${id} ${model}`)
      const { delayMs, does } = plans[MODELS.indexOf(model)] as Plan
      await wait(does === 'hangs' ? 10_000 : delayMs, context)
      if (does === 'fails') throw fail('SERVER', 503)
      if (does === 'refuses') throw fail('BAD_REQUEST', 400)
      if (does === 'answers') return model
      return (async function* () {
        for (let n = 0; n < 3; n++) {
          yield model
          await wait(delayMs, context)
        }
        if (does === 'breaks') throw fail('SERVER', 503)
      })()
    },
    { model: ({ model }) => model, withModel: (ask, model) => ({ ...ask, model }) },
  )
  return { fn, asked }
}

it('fallback gives one answer from one model, in time, and releases everything, whatever happens', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(plan, plan, plan, plan),
      fc.array(call, { minLength: 1, maxLength: 8 }),
      async (plans, calls) => {
        const { fn, asked } = upstream(plans)
        const ask = stack(fn, fallback({ to: MODELS.slice(1) }), queue({ concurrency: 2 }))
        const texts: string[] = []
        let settled = 0
        const run = async ({ atMs, timeoutMs, leaves }: (typeof calls)[number], id: number) => {
          await new Promise((resolve) => setTimeout(resolve, atMs))
          const began = performance.now()
          const caller = new AbortController()
          if (leaves !== undefined) setTimeout(() => caller.abort(), leaves)
          try {
            const options = { timeoutMs, signal: caller.signal }
            const answer = await ask({ id, model: 'first' }, options)
            const chunks =
              typeof answer === 'string' ? [answer] : await collect(answer as AsyncIterable<string>)
            texts.push([...new Set(chunks)].join('+'))
          } catch {
          } finally {
            settled++
            expect(performance.now() - began).toBeLessThanOrEqual(timeoutMs + 1)
          }
        }
        const all = Promise.all(calls.map(run))
        await tick(1_000)
        await all
        expect(settled).toBe(calls.length)
        expect(texts.filter((text) => !MODELS.includes(text))).toEqual([])
        expect(new Set(asked).size).toBe(asked.length)
        expect(ask.stats().queue).toMatchObject({ running: 0, waiting: 0 })
        const closed = ask.close()
        await tick(1)
        await closed
        expect(vi.getTimerCount()).toBe(0)
      },
    ),
    { numRuns: 150 },
  )
})
