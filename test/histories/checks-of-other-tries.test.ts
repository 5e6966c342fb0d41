import { describe, expect, it } from 'vitest'
import {
  ANSWERED_BY,
  Cancel,
  type Context,
  isStackError,
  isStream,
  onEnd,
} from '../../src/core/index.js'
import { useHistoryClock } from '../support/history-clock.js'
import type { LayerPlan } from '../support/history-plans.js'
import type { Ask, Chunk } from '../support/history-upstream.js'
import { catchWarningsInEachTest } from '../support/warnings.js'
import { around, instead, type Mistake, type Next, noticing } from './wrong-layers.js'

const clock = useHistoryClock()
catchWarningsInEachTest()

/** The models of a plan that are asked in the place of another. */
const modelsOf = ({ kind, options }: LayerPlan): readonly string[] =>
  kind === 'fallback' || kind === 'hedge'
    ? options.to.filter((to) => to === 'spare' || to === 'second')
    : []

const delayOf = ({ kind, options }: LayerPlan): number => (kind === 'hedge' ? options.delayMs : 0)

/** Asks the models of its plan in turn until one answers. */
const inTurn =
  (ask: (next: Next, request: Ask, context: Context, error: unknown) => unknown) =>
  (next: Next) =>
  async (request: Ask, context: Context, plan: LayerPlan): Promise<unknown> => {
    let last: unknown
    for (const model of [request.model, ...modelsOf(plan)]) {
      try {
        return await ask(next, { ...request, model }, context, last)
      } catch (error) {
        last = error
      }
    }
    throw last
  }

/** A stream that goes on with another model where the first one breaks. */
async function* stitched(first: AsyncIterable<Chunk>, second: () => unknown) {
  try {
    yield* first
  } catch {
    yield* (await second()) as AsyncIterable<Chunk>
  }
}

/** Runs two tries of a call, the second one when the first is slow, and gives what `choose` gives. */
const twice =
  (choose: (tries: (() => Promise<unknown>)[], delayMs: number) => unknown, isOptional = true) =>
  (next: Next) =>
  (request: Ask, context: Context, plan: LayerPlan) => {
    const model = modelsOf(plan)[0] ?? request.model
    const first = async () => next(request, context)
    const second = async () => next({ ...request, model }, context.derive({ optional: isOptional }))
    return choose([first, second], delayOf(plan))
  }

const after = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

type Tries = (() => Promise<unknown>)[]

const later = ([, second]: Tries, ms: number) => after(ms).then(() => second?.())

const MISTAKES: readonly Mistake[] = [
  [
    'a fallback goes on with another model in the middle of a stream',
    'fallback',
    instead('fallback', (next) => async (request, context, plan) => {
      const answer = await next(request, context)
      const [model = 'spare'] = modelsOf(plan)
      return isStream(answer)
        ? stitched(answer as AsyncIterable<Chunk>, () => next({ ...request, model }, context))
        : answer
    }),
    'trueAnswers',
  ],
  [
    'a fallback asks a candidate twice',
    'fallback',
    instead(
      'fallback',
      inTurn(async (next, request, context) =>
        Promise.resolve(next(request, context)).catch(() => next(request, context)),
      ),
    ),
    'fallbackKeepsRules',
  ],
  [
    'a fallback asks others although the request is wrong',
    'fallback',
    instead(
      'fallback',
      inTurn((next, request, context) => next(request, context)),
    ),
    'fallbackKeepsRules',
  ],
  [
    'a fallback gives up after the first model',
    'fallback',
    instead('fallback', (next) => (request, context) => next(request, context)),
    'fallbackAsksAll',
  ],
  [
    'a fallback asks without the limits of the call',
    'fallback',
    instead(
      'fallback',
      inTurn((next, request, context, error) =>
        next(request, error === undefined ? context : context.derive({ cancel: new Cancel() })),
      ),
    ),
    'keepsTime',
  ],
  [
    'a fallback hides what went wrong',
    'fallback',
    around('fallback', (next) => async (request, context) => {
      try {
        return await next(request, context)
      } catch (error) {
        throw isStackError(error, 'SERVER') ? new TypeError('nobody has an answer') : error
      }
    }),
    'honestErrors',
  ],
  [
    'a hedge lets the try that lost go on',
    'hedge',
    instead(
      'hedge',
      twice((tries, ms) => Promise.any([tries[0]?.(), later(tries, ms)])),
    ),
    'hedgeKeepsRules',
  ],
  [
    'a hedge takes a failure for an answer',
    'hedge',
    instead(
      'hedge',
      twice((tries, ms) => Promise.race([tries[0]?.(), later(tries, ms)])),
    ),
    'hedgeKeepsRules',
  ],
  [
    'a hedge asks thrice',
    'hedge',
    instead(
      'hedge',
      twice((tries, ms) => Promise.any([tries[0]?.(), later(tries, ms), later(tries, ms)])),
    ),
    'boundedAttempts',
  ],
  [
    'a hedge does not wait until the first try is slow',
    'hedge',
    instead(
      'hedge',
      twice((tries) => Promise.any(tries.map((one) => one()))),
    ),
    'hedgeKeepsRules',
  ],
  [
    'a second try waits in the queue',
    'queue',
    around(
      'queue',
      (next) => (request, context) =>
        context.optional
          ? after(context.priority + 2).then(() => next(request, context))
          : next(request, context),
      true,
    ),
    'queueKeepsOrder',
  ],
  [
    'two answers are given to one caller',
    'hedge',
    instead(
      'hedge',
      twice(async (tries) => {
        const [first, second] = await Promise.all(tries.map((one) => one()))
        if (!isStream(first)) return [first, second].flat()
        return stitchedWhole(first as AsyncIterable<Chunk>, second as AsyncIterable<Chunk>)
      }),
    ),
    'trueAnswers',
  ],
  [
    'a fallback notes the first model whoever answers',
    'fallback',
    around('fallback', (next) => async (request, context) => {
      const answer = await next(request, context)
      context.meta.set(ANSWERED_BY, { model: request.model })
      return answer
    }),
    'notesTellWhoAnswered',
  ],
  [
    'a second try goes to the same member of a pool',
    'pool',
    around(
      'pool',
      (next) => (request, context) => next(request, context.derive({ transport: { member: 0 } })),
      true,
    ),
    'poolKeepsBound',
  ],
  [
    'a hedge counts no second try',
    'hedge',
    instead('hedge', (next) => (request, context) => {
      const tried = async () => onEnd(await next(request, context), () => {})
      return Promise.any([tried(), tried()])
    }),
    'hedgeKeepsBudget',
  ],
]

/** Both, one behind the other. */
async function* stitchedWhole(first: AsyncIterable<Chunk>, second: AsyncIterable<Chunk>) {
  yield* first
  yield* second
}

describe('the invariants of fallback and hedge', () => {
  it.each(MISTAKES)('notice when %s', async (...mistake) => {
    expect([...(await noticing(mistake, clock))]).toContain(mistake[3])
  })
})
