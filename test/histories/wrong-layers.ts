import fc from 'fast-check'
import type { Context, Handler, LayerOf } from '../../src/core/index.js'
import type { HistoryClock } from '../support/history-clock.js'
import { type Make, makeLayer } from '../support/history-layers.js'
import type { Kind, LayerPlan } from '../support/history-plans.js'
import { record } from '../support/history-run.js'
import type { Ask } from '../support/history-upstream.js'
import { wrongs } from './all-invariants.js'
import { layers, plan } from './plans.js'

export type Next = Handler<Ask, unknown>
type Wrap = (next: Next) => (ask: Ask, context: Context, plan: LayerPlan) => unknown

/** A layer of the same name and with the same statistics as the right one, whatever it does. */
export function disguised(
  right: LayerOf<Ask, unknown>,
  name: string,
  wrap: (next: Next) => Next,
): LayerOf<Ask, unknown> {
  const { stats, hooks } = right as unknown as { stats(): object; hooks: object }
  const layer = (next: Next) => wrap(next)
  Object.defineProperty(layer, 'name', { value: name })
  return Object.assign(layer, { stats, hooks }) as unknown as LayerOf<Ask, unknown>
}

/** A layer that is wrong in one way, in place of each of a kind. */
export const instead =
  (kind: Kind, wrap: Wrap): Make =>
  (plan, name, ...rest) => {
    const made = makeLayer(plan, name, ...rest)
    if (plan.kind !== kind) return made
    return {
      ...made,
      layer: disguised(made.layer, name, (next) => {
        const wrong = wrap(next)
        return (ask, context) => wrong(ask, context, plan)
      }),
    }
  }

/** The right layer, with what comes out of it spoiled, or what comes out of those inside it. */
export const around =
  (kind: Kind, wrap: Wrap, inside = false): Make =>
  (plan, name, ...rest) => {
    const made = makeLayer(plan, name, ...rest)
    if (plan.kind !== kind) return made
    const spoil = (next: Next): Next => {
      const wrong = wrap(next)
      return (ask, context) => wrong(ask, context, plan)
    }
    const { layer } = made
    return {
      ...made,
      layer: disguised(layer, name, (next) =>
        inside ? (layer(spoil(next)) as Next) : spoil(layer(next) as Next),
      ),
    }
  }

/** A mistake, the kind of layer that makes it, and the invariant that must notice. */
export type Mistake = readonly [mistake: string, kind: Kind, make: Make, noticed: string]

const STORMS = 300
/** Storms are drawn a few at a time: most mistakes show in the first. */
const AT_A_TIME = 20

/** The invariants that notice a mistake, until the one is among them that must. */
export async function noticing(
  [, kind, make, noticed]: Mistake,
  clock: HistoryClock,
): Promise<Set<string>> {
  const storms = plan(layers.filter((plans) => plans.some((layer) => layer.kind === kind)))
  const found = new Set<string>()
  for (let seed = 1; seed <= STORMS / AT_A_TIME; seed++) {
    for (const storm of fc.sample(storms, { numRuns: AT_A_TIME, seed })) {
      const history = await record(storm, clock, make)
      for (const wrong of wrongs(history)) found.add(wrong.split(':', 1)[0] as string)
      if (found.has(noticed)) return found
    }
  }
  return found
}
