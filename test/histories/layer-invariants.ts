import { isStackError, TimeoutError } from '../../src/core/index.js'
import {
  type LayerPlans,
  type Passed,
  retryAfterOf,
  type Watched,
} from '../support/history-layers.js'
import type { Recorded, Stats } from '../support/history-run.js'
import { GRAIN_MS, type Invariant } from './invariants.js'

type Of<K extends Watched['plan']['kind']> = Watched & { plan: { kind: K; options: LayerPlans[K] } }

/** An invariant of each layer of a kind, from what passed outside and inside of it. */
const ofEach =
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

const equal = (what: string, got: number | undefined, expected: number): string[] =>
  got === expected ? [] : [`${what} is ${got}, not ${expected}`]

/** Most calls that were past a place at the same time. */
function mostAtOnce(passed: readonly Passed[]): number {
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

/** A queue loses no call and invents none; it keeps its bound and its order. */
export const queueKeepsOrder: Invariant = ofEach(
  'queue',
  ({ outside, inside, plan: { options } }, stats) => {
    const { concurrency } = options
    const went = new Map(inside.map((one) => [one.from, one]))
    return [
      ...(mostAtOnce(inside) <= concurrency
        ? []
        : [`${mostAtOnce(inside)} ran at once, ${concurrency} may`]),
      ...equal(
        'the number of calls that went on or were rejected',
        inside.length + (stats.rejected ?? 0),
        outside.length,
      ),
      ...equal('completed and failed', (stats.completed ?? 0) + (stats.failed ?? 0), inside.length),
      ...equal('failed', stats.failed, inside.filter(({ outcome }) => outcome === 'failed').length),
      ...(went.size === inside.length ? [] : ['a call went on twice, or one that never came']),
      ...inside.flatMap((one) => overtaken(one, outside, went, options)),
    ]
  },
)

/**
 * Whom a call that begins has passed over although he came first or matters more, and still waited.
 */
function overtaken(
  one: Passed,
  outside: readonly Passed[],
  went: Map<Passed | undefined, Passed>,
  { maxWaitMs, fairness = true }: LayerPlans['queue'],
): string[] {
  const { from, began } = one
  if (from === undefined) return []
  return outside.flatMap((other) => {
    const start = went.get(other)
    const isBefore =
      other.began.place < from.began.place || other.context.priority > from.context.priority
    const waits =
      other.began.place < began.place &&
      (start?.began.place ?? Number.POSITIVE_INFINITY) > began.place &&
      (other.settled?.place ?? Number.POSITIVE_INFINITY) > began.place
    if (other === from || !waits || !isBefore || other.context.priority < from.context.priority)
      return []
    // Tenants take turns, each with its own calls in order.
    const isEqual = other.context.priority === from.context.priority
    if (fairness && isEqual && other.context.tenant !== from.context.tenant) return []
    // Whose turn has come takes some steps to begin; who matters more may come just then.
    if (other.began.place > from.began.place && other.began.at === began.at) return []
    // So may who comes when there is room for both.
    if (from.began.at === began.at && start?.began.at === began.at) return []
    // It leaves the room at once, and says so some steps later.
    const isLeaving =
      other.context.cancel.aborted && (other.settled?.at ?? Number.POSITIVE_INFINITY) <= began.at
    const isOver =
      began.at >=
      Math.min(
        other.context.deadline - GRAIN_MS,
        other.began.at + (maxWaitMs ?? Number.POSITIVE_INFINITY),
      )
    return isLeaving || isOver
      ? []
      : [
          `a call began at ${began.at} before one of priority ${other.context.priority} that had waited longer`,
        ]
  })
}

export const poolKeepsBound: Invariant = ofEach(
  'pool',
  ({ outside, inside, plan: { options } }) => [
    ...(mostAtOnce(inside) <= options.connections
      ? []
      : [`${mostAtOnce(inside)} ran at once, ${options.connections} may`]),
    ...(inside.length <= outside.length ? [] : ['more calls went on than came']),
  ],
)

/** Open is silence, half-open one trial at a time, and never a step that a breaker cannot take. */
export const breakerKeepsSilence: Invariant = ofEach(
  'breaker',
  ({ outside, inside, states, plan: { options } }, stats) => {
    const { resetMs } = options
    const opened = states.filter(({ state }) => state === 'open')
    const legal = { closed: ['open'], open: ['half-open'], 'half-open': ['open', 'closed'] }
    return [
      ...equal('rejected', stats.rejected, outside.length - inside.length),
      ...equal('opened', stats.opened, opened.length),
      ...equal(
        'successes',
        stats.successes,
        inside.filter(({ outcome }) => outcome === 'complete').length,
      ),
      ...(Number(stats.failures) <= inside.filter(({ outcome }) => outcome === 'failed').length
        ? []
        : ['it counts failures that were none']),
      ...states.flatMap(({ state, moment }, i) => {
        const before = states[i - 1]
        if (!legal[before?.state ?? 'closed'].includes(state))
          return [`it went from ${before?.state} to ${state}`]
        return state === 'half-open' && before && moment.at < before.moment.at + resetMs - 1
          ? ['it was half-open before its time']
          : []
      }),
      ...inside.flatMap((one) => {
        const since = states.findLast(({ moment }) => moment.place < one.began.place)
        if (since?.state === 'open') return [`a call went on at ${one.began.at} while it was open`]
        if (since?.state !== 'half-open') return []
        const others = inside.filter(
          ({ began, ended }) =>
            began.place > since.moment.place &&
            began.place < one.began.place &&
            (ended?.place ?? Number.POSITIVE_INFINITY) > one.began.place &&
            one.began.at < began.at + resetMs,
        )
        return others.length > 0 ? [`a second trial went on at ${one.began.at}`] : []
      }),
    ]
  },
)

/** What default rules repeat. */
function isRepeatable(error: unknown): boolean {
  if (isStackError(error)) return error.retryable && !error.refused
  return !(error instanceof TypeError)
}

/**
 * Attempts are bounded, come after a failure that deserves it, within the backoff or after the wait
 * asked for, and within the budget.
 */
export const retryKeepsRules: Invariant = ofEach(
  'retry',
  ({ outside, inside, retries, plan: { options } }, stats) => {
    const { minDelayMs, maxDelayMs, maxRetryAfterMs } = options
    const groups = new Map<object, Passed[]>()
    for (const one of inside) {
      // With a budget the attempts of a call have a context of their own in common.
      const call = one.from ?? one.context
      groups.set(call, [...(groups.get(call) ?? []), one])
    }
    return [
      ...equal('retries', stats.retries, inside.length - groups.size),
      ...[...groups.values()].flatMap((attempts) => [
        ...(attempts.length <= options.retries + 1
          ? []
          : [`${attempts.length} attempts were made of one call`]),
        ...attempts.slice(1).flatMap((attempt, i) => {
          const before = attempts[i] as Passed
          if (before.ended === undefined || before.outcome !== 'failed')
            return ['a call was repeated that had not failed']
          if (before.settled?.place !== undefined && before.ended.place > before.settled.place + 1)
            return ['a call was repeated after its answer began']
          if (!isRepeatable(before.error))
            return [`a call was repeated after ${String(before.error)}`]
          const gap = attempt.began.at - before.ended.at
          const asked = retryAfterOf(before.error)
          const most = asked > 0 ? asked + minDelayMs : Math.min(maxDelayMs, minDelayMs * 2 ** i)
          if (asked > maxRetryAfterMs) return [`it waited ${asked} ms, longer than it may`]
          if (gap < asked - 0.001 || gap > most + GRAIN_MS)
            return [`it waited ${gap} ms, not ${asked} to ${most}`]
          return attempt.began.at > attempt.context.deadline
            ? ['it tried again after the deadline']
            : []
        }),
      ]),
      ...overspent(outside, retries, options.budget),
    ]
  },
)

/**
 * Moments at which more had been repeated than the budget allows. It counts by hundredths of its
 * window.
 */
function overspent(
  outside: readonly Passed[],
  retries: Watched['retries'],
  { ratio, floor, windowMs }: LayerPlans['retry']['budget'],
): string[] {
  const grain = windowMs / 100
  const own = retries.filter(({ asked }) => !asked)
  return own.flatMap(({ moment: { at, place } }) => {
    const spent = own.filter(
      ({ moment }) => moment.place <= place && moment.at > at - windowMs + grain,
    ).length
    const calls = outside.filter(
      ({ began, ended }) =>
        began.place < place &&
        (began.at > at - windowMs - grain || (ended?.place ?? Number.POSITIVE_INFINITY) > place),
    ).length
    return spent > floor + ratio * calls + 1e-9
      ? [`${spent} retries within ${windowMs} ms of ${calls} calls`]
      : []
  })
}

/** Nothing goes on past a time limit. */
export const timeoutKeepsTime: Invariant = ofEach(
  'timeout',
  ({ outside, plan: { options } }, stats) => [
    ...(Number(stats.fired) <= outside.length ? [] : ['it fired more often than it was called']),
    ...outside.flatMap(({ ask, began, settled, ended }) => {
      const limit = ask.stream ? options.streamMs : options.ms
      const first = ask.stream ? Math.min(limit, options.firstTokenMs) : limit
      if (settled === undefined || settled.at - began.at > first + GRAIN_MS)
        return [`a call began after ${(settled?.at ?? 0) - began.at} ms`]
      return ended === undefined || ended.at - began.at > limit + GRAIN_MS
        ? ['a call went on after its time']
        : []
    }),
  ],
)

const shared = (passed: readonly Passed[]) =>
  passed.filter(({ context }) => context.cache !== 'no-store').length

/** Every call is a hit, a miss, shared, or passed by. */
export const sharingCounts: Invariant = (history) => [
  ...ofEach(
    'cache',
    ({ outside, inside, plan }, { hits = 0, misses = 0, stale = 0, unkeyed = 0 }, { samples }) => [
      ...equal('hits, misses and unkeyed', hits + misses + unkeyed, shared(outside)),
      ...(shared(inside) >= misses && shared(inside) <= misses + stale
        ? []
        : [`${shared(inside)} calls went on of ${misses} misses`]),
      ...(samples.every((stats) => Number(stats.cache?.entries) <= plan.options.maxEntries)
        ? []
        : ['it held more entries than it may']),
    ],
  )(history),
  ...ofEach('dedupe', ({ outside, inside }, { joined }) =>
    equal('joined', joined, shared(outside) - shared(inside)),
  )(history),
]

const GAUGES = new Set([
  'concurrency',
  'tenants',
  'fairnessIndex',
  'running',
  'waiting',
  'active',
  'available',
  'inFlight',
  'entries',
  'bytes',
  'state',
  'members',
])

/** Counters only grow, gauges keep their bounds, and at rest nothing runs or waits. */
export const trueStats: Invariant = ({ samples, atRest, watched }) => {
  const wrong = new Set<string>()
  const limits = new Map(
    watched.map(({ name, plan: { kind, options } }) => [
      name,
      kind === 'queue' || kind === 'pool' ? options : undefined,
    ]),
  )
  let before: Stats = {}
  for (const stats of [...samples, atRest]) {
    for (const [name, counts] of Object.entries(stats)) {
      for (const [field, value] of Object.entries(counts)) {
        const old = before[name]?.[field] as number | undefined
        if (!GAUGES.has(field) && old !== undefined && (value as number) < old)
          wrong.add(`${name}.${field} fell from ${old} to ${value}`)
        if (typeof value === 'number' && value < 0) wrong.add(`${name}.${field} is ${value}`)
      }
      const {
        running = 0,
        waiting = 0,
        active = 0,
        concurrency = 0,
        max = 0,
      } = counts as Record<string, number>
      if (running > concurrency || active > max) wrong.add(`${name} has more running than it may`)
      if (waiting > (limits.get(name)?.maxWaiting ?? 0))
        wrong.add(`${name} has more waiting than it may`)
    }
    before = stats
  }
  for (const [name, counts] of Object.entries(atRest)) {
    for (const field of ['running', 'waiting', 'active', 'inFlight']) {
      if (Number(counts[field] ?? 0) !== 0)
        wrong.add(`at rest ${name}.${field} is ${counts[field]}`)
    }
  }
  return [...wrong]
}

/** What ends a wait for a slot when the stack closes: at once, with CLOSED. */
export const closingEndsWaits: Invariant = ofEach(
  'queue',
  ({ outside, inside }, _, { closed, plan }) => {
    if (closed === undefined || plan.close === undefined) return []
    const went = new Set(inside.map(({ from }) => from))
    return outside.flatMap((one) => {
      const waited =
        !went.has(one) &&
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
  },
)
