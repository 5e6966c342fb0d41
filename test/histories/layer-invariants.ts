import { isStackError } from '../../src/core/index.js'
import { type Passed, retryAfterOf, type Watched } from '../support/history-layers.js'
import { type LayerPlans, widthOf } from '../support/history-plans.js'
import type { Stats } from '../support/history-run.js'
import { equal, GRAIN_MS, type Invariant, ofEach } from './judging.js'

/** Open is silence, half-open so many trials at a time, and never a step that a breaker cannot take. */
export const breakerKeepsSilence: Invariant = ofEach(
  'breaker',
  ({ outside, inside, states, plan: { options } }, stats) => {
    const { slowMs = Number.POSITIVE_INFINITY, key } = options
    const opened = states.filter(({ state }) => state === 'open')
    const slow = inside.filter(
      ({ began, settled }) => (settled?.at ?? Number.POSITIVE_INFINITY) > began.at + slowMs,
    )
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
      ...(Number(stats.slow) <= slow.length ? [] : ['it counts calls as slow that were not']),
      ...circuitsOf(states, inside, key).flatMap((circuit) => keepsSilence(circuit, options)),
    ]
  },
)

interface CircuitPast {
  readonly states: Watched['states']
  readonly inside: readonly Passed[]
}

/** What went through each circuit of a breaker. */
function circuitsOf(
  states: Watched['states'],
  inside: readonly Passed[],
  key: 'model' | undefined,
): CircuitPast[] {
  if (key === undefined) return [{ states, inside }]
  const models = [...new Set(inside.map(({ ask }) => ask.model))]
  return models.map((model) => ({
    states: states.filter(({ key }) => key === model),
    inside: inside.filter(({ ask }) => ask.model === model),
  }))
}

const NEXT = { closed: ['open'], open: ['half-open'], 'half-open': ['open', 'closed'] }

function keepsSilence(
  { states, inside }: CircuitPast,
  { resetMs, trials }: LayerPlans['breaker'],
): string[] {
  return [
    ...states.flatMap(({ state, moment }, i) => {
      const before = states[i - 1]
      if (!NEXT[before?.state ?? 'closed'].includes(state))
        return [`it went from ${before?.state} to ${state}`]
      return state === 'half-open' && before && moment.at < before.moment.at + resetMs - 1
        ? ['it was half-open before its time']
        : []
    }),
    ...inside.flatMap((one) => {
      const since = states.findLast(({ moment }) => moment.place < one.began.place)
      if (since?.state === 'open') return [`a call went on at ${one.began.at} while it was open`]
      if (since?.state !== 'half-open') return []
      if (one.context.optional) return [`a second try went on trial at ${one.began.at}`]
      const others = inside.filter(
        ({ began, ended }) =>
          began.place > since.moment.place &&
          began.place < one.began.place &&
          (ended?.place ?? Number.POSITIVE_INFINITY) > one.began.place &&
          one.began.at < began.at + resetMs,
      )
      return others.length >= trials ? [`one trial too many went on at ${one.began.at}`] : []
    }),
  ]
}

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
  ({ outside, inside, retries, plan: { options } }, stats, { plan }) => {
    const { minDelayMs, maxDelayMs, maxRetryAfterMs } = options
    const hasMembers = plan.layers.some(
      ({ kind, options }) => kind === 'pool' && options.members !== undefined,
    )
    const groups = new Map<object, Passed[]>()
    for (const one of inside) {
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
          const wait = retryAfterOf(before.error)
          // Another member of a pool need not be waited for.
          const asked = hasMembers && gap < wait ? 0 : wait
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
  'keys',
])

/** What is wrong with the gauges of one layer. */
function gaugesOf({ name, plan }: Watched, counts: Record<string, number>): string[] {
  const { running = 0, waiting = 0, active = 0, concurrency = 0, keys = 1 } = counts
  const { kind, options } = plan
  const most = kind === 'queue' || kind === 'pool' || kind === 'rateLimit' ? options.maxWaiting : 0
  const min = kind === 'queue' && typeof options.concurrency === 'object' ? 1 : widthOf(plan)
  return [
    ...(Math.max(running, active) > widthOf(plan) ? [`${name} has more running than it may`] : []),
    // A rateLimit has a line for each key.
    ...(waiting > most * keys ? [`${name} has more waiting than it may`] : []),
    ...(kind === 'queue' && (concurrency > widthOf(plan) || concurrency < min)
      ? [`${name}.concurrency is ${concurrency}`]
      : []),
  ]
}

/** Counters only grow, gauges keep their bounds, and at rest nothing runs or waits. */
export const trueStats: Invariant = ({ samples, atRest, watched }) => {
  const wrong = new Set<string>()
  let before: Stats = {}
  for (const stats of [...samples, atRest]) {
    for (const layer of watched) {
      const { name } = layer
      const counts = stats[name] as Record<string, number>
      for (const [field, value] of Object.entries(counts)) {
        const old = before[name]?.[field] as number | undefined
        if (!GAUGES.has(field) && old !== undefined && value < old)
          wrong.add(`${name}.${field} fell from ${old} to ${value}`)
        if (typeof value === 'number' && value < 0) wrong.add(`${name}.${field} is ${value}`)
      }
      for (const sentence of gaugesOf(layer, counts)) wrong.add(sentence)
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
