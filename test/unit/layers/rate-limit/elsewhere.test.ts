import { describe, expect, it } from 'vitest'
import {
  type BaseTraits,
  base,
  type Context,
  now,
  QueueFullError,
  stack,
  UPSTREAM_PAUSE,
} from '../../../../src/core/index.js'
import { fallback } from '../../../../src/layers/fallback/index.js'
import type { LimitCostOptions } from '../../../../src/layers/rate-limit/index.js'
import { RecordingStore, recordedLimit } from '../../../support/recorded-limit.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

catchWarningsInEachTest()

interface Ask {
  readonly model: string
}

const traits: BaseTraits<Ask> = {
  model: ({ model }) => model,
  withModel: (_, model) => ({ model }),
  weigh: () => ({ input: 10, output: 10 }),
  usage: (answer) => (answer as { usage?: { input: number; output: number } }).usage,
}
const PRICES: Record<string, number> = { dear: 1, cheap: 0.1 }
const cost: LimitCostOptions = {
  limit: 1_000,
  per: 'day',
  price: (model, { output }) => (PRICES[model] ?? Number.NaN) * output,
}
const usage = { input: 10, output: 5 }
const down = async (): Promise<unknown> => Promise.reject(upstreamError('SERVER'))
/** The dear model is down, and the others answer. */
const onlyOthers = ({ model }: Ask) => (model === 'dear' ? down() : Promise.resolve({ usage }))

/** A limit around a fallback, with what it reserves and settles. */
function limited(
  primary: (request: Ask) => Promise<unknown>,
  to: NonNullable<Parameters<typeof fallback>[0]>['to'],
) {
  const store = new RecordingStore()
  const ask = stack(
    base(primary, traits as BaseTraits<Ask, unknown, unknown>),
    recordedLimit({ requests: 600, tokens: 60_000, cost }, store),
    fallback({ to }),
  )
  return { ask, taken: () => store.log.flatMap(({ taken }) => taken) }
}

describe('a call that somebody else answers', () => {
  it('costs the price of the model that answers', async () => {
    const { ask, taken } = limited(onlyOthers, ['cheap'])
    await ask({ model: 'dear' })
    expect(taken()).toEqual([{ requests: 1, tokens: 15, cost: 500_000 }])
  })

  it('costs what was reserved when the price of the answering model is unknown', async () => {
    const { ask, taken } = limited(onlyOthers, ['unheard of'])
    await ask({ model: 'dear' })
    expect(taken()).toEqual([{ requests: 1, tokens: 15, cost: 10_000_000 }])
  })

  it('counts as run when another stack fails it, but not when that stack refuses it', async () => {
    const refused = () => Promise.reject(new QueueFullError(1))
    const other = (error: unknown) =>
      stack(async (_: Ask): Promise<unknown> => Promise.reject(error))
    const ran = limited(refused, [other(new Error('later'))])
    await failure(ran.ask({ model: 'dear' }))
    expect(ran.taken()).toMatchObject([{ requests: 1, tokens: 10 }])
    const never = limited(refused, [other(new QueueFullError(1))])
    await failure(never.ask({ model: 'dear' }))
    expect(never.taken()).toEqual([{ requests: 0, tokens: 0, cost: 0 }])
  })

  it('pauses no call here when the limits of another client are used up', async () => {
    const other = stack(async (_: Ask, { meta }: Context): Promise<unknown> => {
      meta.set(UPSTREAM_PAUSE, { until: now() + 60_000 })
      return { usage }
    })
    const { ask } = limited(down, [other])
    await ask({ model: 'dear' })
    expect(await ask({ model: 'dear' })).toEqual({ usage })
  })
})
