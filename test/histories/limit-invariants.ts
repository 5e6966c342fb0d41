import { isStackError } from '../../src/core/index.js'
import type { Passed } from '../support/history-layers.js'
import { burstOf, type LayerPlans, type RatePlan } from '../support/history-plans.js'
import type { Recorded as Reserved } from '../support/recorded-limit.js'
import { equal, type Invariant, type Of, ofEach } from './judging.js'
import { overtaken, waitedBeforeRun } from './turns.js'

type Limit = Of<'rateLimit'>

const storeOf = ({ store }: Limit): readonly Reserved[] => store?.log ?? []

/** Whatever becomes of a call, what it has reserved is settled or given back, and only once. */
export const limitSettlesOnce: Invariant = ofEach('rateLimit', (layer, stats) => [
  ...storeOf(layer).flatMap(({ taken, granted }) =>
    taken.length === 1
      ? []
      : [`what was granted at ${granted.at} was settled ${taken.length} times`],
  ),
  ...equal('settled', stats.settled, layer.inside.length),
])

const tookNothing = ({ taken: [taken] }: Reserved): boolean =>
  taken?.requests === 0 && taken.tokens === 0

/** A call that never ran takes nothing; one that was answered takes at least its request. */
export const limitTakesWhatRuns: Invariant = ofEach('rateLimit', (layer, stats) => {
  const { inside, outside } = layer
  const granted = storeOf(layer)
  const free = granted.filter(tookNothing).length
  // Who left in the moment of the turn gives back what was granted.
  const unused = granted.length - inside.length
  const refused = inside.filter(neverRan).length
  const failed = inside.filter(({ outcome }) => outcome === 'failed').length
  return [
    ...equal('admitted', stats.admitted, inside.length),
    ...equal('rejected', stats.rejected, outside.length - inside.length),
    ...(unused >= 0 ? [] : ['more calls went on than were granted']),
    ...(free >= unused + refused
      ? []
      : [`${free} calls took nothing, of ${unused + refused} that never ran`]),
    ...(free <= unused + failed ? [] : [`${free} calls took nothing, and ${failed} failed`]),
  ]
})

/** Whether it was refused further in. A repeat that is refused has what went wrong as its cause. */
const neverRan = ({ error }: Passed): boolean =>
  isStackError(error) && error.refused && error.cause === undefined

/** In any interval no more begins than the limit, the burst and one dear call allow. */
export const limitKeepsRate: Invariant = ofEach('rateLimit', (layer) => {
  const granted = storeOf(layer)
  const keys = [...new Set(granted.map(({ key }) => key))]
  return (['requests', 'tokens'] as const).flatMap((unit) => {
    const rate = layer.plan.options[unit]
    if (rate === undefined) return []
    return keys.flatMap((key) => {
      const ofKey = granted.filter((one) => one.key === key)
      return exceeds(rate, stepsOf(ofKey, unit)) ? [`more ${unit} of "${key}" than it may`] : []
    })
  })
})

interface Step {
  readonly at: number
  readonly place: number
  readonly amount: number
}

/** What calls took when they began, and what came back. What they took beyond that is not counted. */
const stepsOf = (granted: readonly Reserved[], unit: 'requests' | 'tokens'): Step[] =>
  granted
    .flatMap(({ reserved, taken, granted, settled }) => [
      { ...granted, amount: reserved[unit] },
      ...taken.map((took, i) => ({
        ...(settled[i] as Step),
        amount: Math.min(0, took[unit] - reserved[unit]),
      })),
    ])
    .sort((a, b) => a.place - b.place)

/**
 * The most that any interval has seen beyond what the rate gives it, as it grows step by step. A
 * call dearer than the burst takes all of that and the rest on credit.
 */
function exceeds(plan: RatePlan, steps: readonly Step[]): boolean {
  const burst = burstOf(plan)
  const perMs = plan.limit / plan.intervalMs
  let most = 0
  let before = 0
  return steps.some(({ at, amount }) => {
    most = Math.max(0, most - (at - before) * perMs)
    before = at
    most = Math.max(0, most + amount)
    return amount > 0 && most > Math.max(burst, amount) + 1e-3
  })
}

/** Who waits for a limit goes by priority and arrival, and only in its own line. */
export const limitKeepsOrder: Invariant = ofEach('rateLimit', (layer) => {
  const { outside, inside } = layer
  const { maxWaitMs, mode } = layer.plan.options
  const keyOf = keyBy(layer.plan.options.by)
  const went = new Map<Passed | undefined, Passed>(inside.map((one) => [one.from, one]))
  return [...new Set(outside.map(keyOf))].flatMap((key) => {
    const line = outside.filter((one) => keyOf(one) === key)
    const gone = inside.filter((one) => keyOf(one) === key)
    const mayPass = () => false
    return [
      ...gone.flatMap((one) => overtaken(one, line, went, { maxWaitMs, mayPass })),
      ...gone.flatMap((one) => waitedBeforeRun(one, line, went)),
      ...gone.flatMap(({ from, began }) =>
        mode === 'reject' && from !== undefined && began.at > from.began.at
          ? ['a call waited that was to go on at once or not at all']
          : [],
      ),
    ]
  })
})

const keyBy =
  (by: LayerPlans['rateLimit']['by']) =>
  ({ ask, context }: Passed): string => {
    if (by === 'all') return ''
    return (by === 'model' ? ask.model : context.tenant) ?? ''
  }
