import { isStackError, TimeoutError } from '../../src/core/index.js'
import type { Passed, Watched } from '../support/history-layers.js'
import { widthOf } from '../support/history-plans.js'
import type { Recorded } from '../support/history-run.js'
import { equal, type Invariant, mostAtOnce, ofEach } from './judging.js'
import { overtaken, waitedBeforeRun } from './turns.js'

/** A queue loses no call and invents none; it keeps its bound and its order. */
export const queueKeepsOrder: Invariant = ofEach('queue', ({ outside, inside, plan }, stats) => {
  const { maxWaitMs = Number.POSITIVE_INFINITY, fairness = true } = plan.options
  const width = widthOf(plan)
  // Tenants take turns, each with its own calls in order.
  const mayPass = (one: Passed, other: Passed) =>
    fairness && other.context.tenant !== one.context.tenant
  const went = new Map(inside.map((one) => [one.from, one]))
  return [
    ...(mostAtOnce(inside) <= width ? [] : [`${mostAtOnce(inside)} ran at once, ${width} may`]),
    ...equal(
      'the number of calls that went on or were rejected',
      inside.length + (stats.rejected ?? 0),
      outside.length,
    ),
    ...equal('completed and failed', (stats.completed ?? 0) + (stats.failed ?? 0), inside.length),
    ...equal('failed', stats.failed, inside.filter(({ outcome }) => outcome === 'failed').length),
    ...(went.size === inside.length ? [] : ['a call went on twice, or one that never came']),
    ...inside.flatMap((one) => overtaken(one, outside, went, { maxWaitMs, mayPass })),
    ...inside.flatMap((one) => waitedBeforeRun(one, outside, went)),
  ]
})

export const poolKeepsBound: Invariant = ofEach('pool', ({ outside, inside, plan }) => [
  ...(mostAtOnce(inside) <= widthOf(plan)
    ? []
    : [`${mostAtOnce(inside)} ran at once, ${widthOf(plan)} may`]),
  ...(inside.length <= outside.length ? [] : ['more calls went on than came']),
  ...inside.flatMap(({ context: { elsewhere, transport } }) =>
    elsewhere.includes(transport?.member ?? -1)
      ? [`a second try went to member ${transport?.member}, as the first did`]
      : [],
  ),
])

/** What ends a wait for a slot when the stack closes: at once, with CLOSED. */
export const closingEndsWaits: Invariant = ofEach('queue', endsWaits)

/** And a wait for a limit. */
export const closingEndsWaitsForLimits: Invariant = ofEach('rateLimit', endsWaits)

function endsWaits({ outside, inside }: Watched, _: object, { closed, plan }: Recorded): string[] {
  if (closed === undefined || plan.close === undefined) return []
  const went = new Map(inside.map(({ from, began }) => [from, began]))
  return outside.flatMap((one) => {
    const began = went.get(one)
    if (began !== undefined && one.began.at < began.at && began.at > closed.began.at)
      return ['a call that had waited went on while the stack closed']
    const waited =
      began === undefined &&
      one.began.place < closed.began.place &&
      (one.settled?.place ?? 0) > closed.began.place
    if (!waited) return []
    if ((one.settled?.at ?? Number.POSITIVE_INFINITY) > closed.began.at)
      return ['a call waited on after close()']
    return isStackError(one.error, 'CLOSED') ||
      one.context.cancel.aborted ||
      one.error instanceof TimeoutError
      ? []
      : [`a wait ended with ${String(one.error)}`]
  })
}
