import { isStackError } from '../../src/core/index.js'
import type { Passed, Watched } from '../support/history-layers.js'
import type { Kind, LayerPlans } from '../support/history-plans.js'
import type { Called, Recorded } from '../support/history-run.js'

/**
 * What must hold of any history. Each gives what is wrong with one, in words; nothing when all is
 * well.
 */
export type Invariant = (history: Recorded) => string[]

/** Timers have a grain of one millisecond at each end. */
export const GRAIN_MS = 2

/** What is wrong with each call, as its caller saw it. */
export const each = (
  called: readonly Called[],
  judge: (call: Called) => string | undefined | false,
): string[] =>
  called.flatMap((call, i) => {
    const wrong = judge(call)
    return wrong
      ? [`call ${i} (${call.plan.prompt}${call.plan.stream ? ', stream' : ''}) ${wrong}`]
      : []
  })

export const has = ({ plan }: Recorded, kind: Kind) =>
  plan.layers.some((layer) => layer.kind === kind)
export const placeOf = ({ plan }: Recorded, kind: Kind) =>
  plan.layers.findIndex((layer) => layer.kind === kind)
export const isOwn = ({ plan }: Called) => plan.prompt.startsWith('own')
export const show = (error: unknown) => (isStackError(error) ? error.code : String(error))

export type Of<K extends Watched['plan']['kind']> = Watched & {
  plan: { kind: K; options: LayerPlans[K] }
}

/** An invariant of each layer of a kind, from what passed outside and inside of it. */
export const ofEach =
  <K extends Watched['plan']['kind']>(
    kind: K,
    judge: (layer: Of<K>, stats: Record<string, number>, history: Recorded) => string[],
  ): Invariant =>
  (history) =>
    history.watched.flatMap((layer) =>
      layer.plan.kind === kind
        ? judge(layer as Of<K>, history.atRest[layer.name] as Record<string, number>, history).map(
            (wrong) => `${layer.name}: ${wrong}`,
          )
        : [],
    )

export const equal = (what: string, got: number | undefined, expected: number): string[] =>
  got === expected ? [] : [`${what} is ${got}, not ${expected}`]

/** Most calls that were past a place at the same time. */
export function mostAtOnce(passed: readonly Pick<Passed, 'began' | 'ended'>[]): number {
  const steps = passed.flatMap(({ began, ended }) => [
    { place: began.place, step: 1 },
    { place: ended?.place ?? Number.POSITIVE_INFINITY, step: -1 },
  ])
  let now = 0
  let most = 0
  for (const { step } of steps.sort((a, b) => a.place - b.place)) {
    now += step
    most = Math.max(most, now)
  }
  return most
}
