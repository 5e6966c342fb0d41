import { describe, expect, it } from 'vitest'
import {
  ClosedError,
  isStackError,
  isStream,
  type LayerOf,
  sleep,
  streamOf,
} from '../../src/core/index.js'
import type { BreakerLayer } from '../../src/layers/breaker/index.js'
import { useHistoryClock } from '../support/history-clock.js'
import { type Make, makeLayer } from '../support/history-layers.js'
import { type Kind, widthOf } from '../support/history-plans.js'
import type { Ask, Chunk, Part } from '../support/history-upstream.js'
import { catchWarningsInEachTest } from '../support/warnings.js'
import { around, disguised, instead, type Mistake, type Next, noticing } from './wrong-layers.js'

const clock = useHistoryClock()
catchWarningsInEachTest()

/** The right layer, which some calls go around. */
const aside =
  (kind: Kind, wrap: (layer: LayerOf<Ask, unknown>, next: Next) => Next): Make =>
  (plan, name, ...rest) => {
    const made = makeLayer(plan, name, ...rest)
    if (plan.kind !== kind) return made
    return { ...made, layer: disguised(made.layer, name, (next) => wrap(made.layer, next)) }
  }

/** A layer that only passes calls on. */
const idle = (kind: Kind): Make =>
  instead(kind, (next) => async (ask, context) => next(ask, context))

/** Slots that are given back when `until` has settled, to the first who waits or to the last. */
const queueing = (next: 'shift' | 'pop', until: (answer: unknown) => unknown = () => {}): Make =>
  instead('queue', (inside) => {
    let running = 0
    const waiting: (() => void)[] = []
    return async (ask, context, plan) => {
      if (running >= widthOf(plan)) await new Promise<void>((resolve) => waiting.push(resolve))
      running++
      try {
        const answer = await inside(ask, context)
        await until(answer)
        return answer
      } finally {
        running--
        waiting[next]()?.()
      }
    }
  })

const WIDE = { min: 1, start: 9, max: 9 }

const stored = new Map<string, unknown>()

/** Mistakes that others have made, and the invariant that must notice. */
const MISTAKES: readonly Mistake[] = [
  [
    'a queue gives the slot back when a stream begins',
    'queue',
    queueing('shift'),
    'boundedInFlight',
  ],
  [
    'a queue loses the slot of a call that fails',
    'queue',
    instead('queue', (next) => {
      let running = 0
      return async (ask, context, plan) => {
        if (running >= widthOf(plan)) await sleep(1_000, context.cancel)
        running++
        const answer = await next(ask, context)
        running--
        return answer
      }
    }),
    'slotsComeBack',
  ],
  [
    'a queue lets the last one in first',
    'queue',
    queueing(
      'pop',
      (answer) =>
        new Promise((resolve) =>
          streamOf(answer) ? streamOf(answer)?.onEnd(resolve) : resolve(0),
        ),
    ),
    'queueKeepsOrder',
  ],
  ['a pool bounds nothing', 'pool', idle('pool'), 'poolKeepsBound'],
  [
    'a retry repeats everything, without end of patience',
    'retry',
    instead('retry', (next) => async (ask, context) => {
      for (let i = 0; ; i++) {
        try {
          return await next(ask, context)
        } catch (error) {
          if (i === 4) throw error
        }
      }
    }),
    'boundedAttempts',
  ],
  [
    'a retry does not wait as long as it was asked to',
    'retry',
    instead('retry', (next) => async (ask, context) => {
      try {
        return await next(ask, context)
      } catch (error) {
        if (!isStackError(error, 'RATE_LIMITED')) throw error
        return next(ask, context)
      }
    }),
    'retryKeepsRules',
  ],
  [
    'a breaker lets calls through while it is open',
    'breaker',
    aside('breaker', (layer, next) => {
      const right = layer(next) as Next
      const leak = (error: unknown) =>
        isStackError(error, 'BREAKER_OPEN') ? undefined : Promise.reject(error)
      return async (ask, context) =>
        (await Promise.resolve(right(ask, context)).catch(leak)) ?? next(ask, context)
    }),
    'breakerKeepsSilence',
  ],
  [
    'a breaker lets all calls through while it is on trial',
    'breaker',
    aside('breaker', (layer, next) => {
      const right = layer(next) as Next
      return async (ask, context) => {
        const isOnTrial = (layer as BreakerLayer).state() === 'half-open'
        return isOnTrial ? next(ask, context) : right(ask, context)
      }
    }),
    'breakerKeepsSilence',
  ],
  [
    'a breaker counts every call as slow',
    'breaker',
    (plan, ...rest) =>
      plan.kind === 'breaker'
        ? {
            ...makeLayer({ ...plan, options: { ...plan.options, slowMs: 1 } }, ...rest),
          }
        : makeLayer(plan, ...rest),
    'breakerKeepsSilence',
  ],
  [
    'a concurrency grows above its bound',
    'queue',
    (plan, ...rest) =>
      plan.kind === 'queue'
        ? makeLayer({ ...plan, options: { ...plan.options, concurrency: WIDE } }, ...rest)
        : makeLayer(plan, ...rest),
    'queueKeepsOrder',
  ],
  ['a time limit does not heed the body', 'timeout', idle('timeout'), 'timeoutKeepsTime'],
  [
    'a cache forgets whose answer it is',
    'cache',
    instead('cache', (next) => async (ask, context) => {
      if (ask.stream) return next(ask, context)
      const answer = stored.get(ask.prompts.join()) ?? (await next(ask, context))
      stored.set(ask.prompts.join(), answer)
      return answer
    }),
    'trueAnswers',
  ],
  [
    'a cache keeps half a stream',
    'cache',
    around(
      'cache',
      (next) => async (ask, context) => {
        const answer = await next(ask, context)
        if (!isStream(answer)) return answer
        return (async function* () {
          for await (const chunk of answer as AsyncIterable<Chunk>) {
            yield { ...chunk, last: true }
            if (chunk.index === 1) return
          }
        })()
      },
      true,
    ),
    'trueAnswers',
  ],
  [
    'an answer is changed on its way',
    'dedupe',
    around('dedupe', (next) => async (ask, context) => {
      const answer = await next(ask, context)
      return isStream(answer)
        ? answer
        : (answer as Part[]).map((part) => ({ ...part, serial: part.serial, spoiled: true }))
    }),
    'trueAnswers',
  ],
  ['identical calls are not joined', 'dedupe', idle('dedupe'), 'singleFlight'],
  [
    'a call is never answered',
    'dedupe',
    instead(
      'dedupe',
      (next) => (ask, context) =>
        ask.prompts[0] === 'shared a' && ask.stream ? new Promise(() => {}) : next(ask, context),
    ),
    'sharingCounts',
  ],
  [
    'an error is given a code that nobody said',
    'timeout',
    around(
      'timeout',
      (next) => async (ask, context) =>
        Promise.resolve(next(ask, context)).catch(() => Promise.reject(new ClosedError())),
    ),
    'honestErrors',
  ],
  [
    'a stream is read ahead of its reader',
    'pool',
    around('pool', (next) => async (ask, context) => {
      const answer = await next(ask, context)
      if (!isStream(answer)) return answer
      const chunks: Chunk[] = []
      for await (const chunk of answer as AsyncIterable<Chunk>) chunks.push(chunk)
      return (async function* () {
        yield* chunks
      })()
    }),
    'backPressure',
  ],
]

describe('the invariants', () => {
  it.each(MISTAKES)('notice when %s', async (...mistake) => {
    stored.clear()
    expect([...(await noticing(mistake, clock))]).toContain(mistake[3])
  })
})
