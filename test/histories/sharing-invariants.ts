import type { CacheNote } from '../../src/layers/cache/index.js'
import type { Passed } from '../support/history-layers.js'
import { targetsOf } from '../support/history-plans.js'
import type { Called, Recorded } from '../support/history-run.js'
import type { Part, Served } from '../support/history-upstream.js'
import { each, equal, GRAIN_MS, has, type Invariant, ofEach, placeOf } from './judging.js'

/**
 * What is stored is served in its time only, never from before a clear(), and not to calls that do
 * not want it.
 */
export const trueCache: Invariant = (history) => {
  const plan = history.plan.layers.find((layer) => layer.kind === 'cache')
  const { called, served, cleared } = history
  const serialOf = ({ plan: { stream }, answer, chunks }: Called): number | undefined =>
    stream ? chunks[0]?.chunk.serial : (answer as Part[] | undefined)?.[0]?.serial
  const statusOf = ({ meta }: Called) => (meta.get('cache') as CacheNote | undefined)?.status
  const private_ = new Set(called.filter((call) => call.plan.cache === 'no-store').map(serialOf))
  return each(called, (call) => {
    const status = statusOf(call)
    const serial = serialOf(call)
    const { cache } = call.plan
    if (cache === 'no-store' && (call.meta.has('cache') || call.meta.has('dedupe')))
      return 'wanted nothing shared'
    if (cache !== 'no-store' && serial !== undefined && private_.has(serial))
      return 'was given what was not to be stored'
    if (status !== 'hit' && status !== 'stale') return false
    if (cache === 'reload') return 'wanted nothing stored'
    const source = serial === undefined ? undefined : served[serial]
    if (plan?.kind !== 'cache' || call.settled === undefined || source?.ended === undefined)
      return false
    // Who joins a stream in progress is served later than the cache was asked.
    if (call.meta.has('dedupe')) return false
    if (cleared && call.settled.place > cleared.place && source.began.place < cleared.place)
      return 'was given what had been cleared'
    const readers = called.filter(
      (other) => serialOf(other) === serial && statusOf(other) === 'miss',
    )
    // Who is deaf has ended for upstream before his answer is there.
    const answered =
      source.behaviour.does === 'deaf' ? source.began.at + source.behaviour.ms : source.ended.at
    const stored = Math.max(
      answered,
      ...readers.map(({ settled, readEnded }) => Math.max(settled?.at ?? 0, readEnded?.at ?? 0)),
    )
    const age = call.settled.at - stored
    const { ttlMs, staleMs } = plan.options
    const share = isOfCandidate(history, call.plan.model, source) ? KEPT_SHARE : 1
    return (
      age > share * (ttlMs + (status === 'stale' ? staleMs : 0)) + GRAIN_MS &&
      `was given an answer of ${age} ms as ${status}`
    )
  })
}

/** For which share of its time a cache keeps what another than the first model has answered. */
const KEPT_SHARE = 0.1

/** Whether only a fallback can have had this answer made. */
const isOfCandidate = (history: Recorded, model: string, { site, ...source }: Served): boolean =>
  placeOf(history, 'fallback') > placeOf(history, 'cache') &&
  !has(history, 'hedge') &&
  (site !== 'here' || source.model !== model)

/** With a dedupe layer at most one request for the same thing at a time. */
export const singleFlight: Invariant = (history) => {
  const dedupe = placeOf(history, 'dedupe')
  const batcher = placeOf(history, 'batcher')
  const cache = placeOf(history, 'cache')
  // A batch is a request of its own, and a cache further in renews its entries behind dedupe's
  // back.
  if (
    dedupe < 0 ||
    (batcher >= 0 && batcher < dedupe) ||
    (cache > dedupe && Number(history.atRest.cache?.stale) > 0)
  )
    return []
  // What layers further in ask others is not deduped. A second try joins nobody: it may be refused.
  const further = history.plan.layers.slice(dedupe)
  const others = new Set(further.flatMap(targetsOf))
  const keyed = history.served.filter(
    ({ cache, site, model, optional }) =>
      cache !== 'no-store' && site === 'here' && !optional && !others.has(model),
  )
  return keyed.flatMap((first) =>
    keyed.flatMap((second) => {
      const same = ({ prompts, tenant, stream, cache, model }: Served) =>
        JSON.stringify([prompts.toSorted(), tenant, stream, cache, model])
      if (
        second.serial <= first.serial ||
        prompted(first, second) === 0 ||
        same(first) !== same(second)
      )
        return []
      const overlaps = second.began.place < (first.ended?.place ?? Number.POSITIVE_INFINITY)
      return overlaps
        ? [`requests ${first.serial} and ${second.serial} for the same thing overlap`]
        : []
    }),
  )
}

const prompted = (one: Served, other: Served) =>
  one.prompts.filter((prompt) => other.prompts.includes(prompt)).length

const shared = (passed: readonly Passed[]) =>
  passed.filter(({ context }) => context.cache !== 'no-store').length

/** Whether it may have been aborted before it came, in the same moment. */
const mayBeLate = ({ began, settled, context }: Passed): boolean =>
  context.cancel.aborted && settled?.at === began.at

const between = (what: string, got: number, least: number, most: number): string[] =>
  got >= least && got <= most ? [] : [`${what} is ${got}, not ${least} to ${most}`]

/** Every call is a hit, a miss, shared, or passed by. */
export const sharingCounts: Invariant = (history) => [
  ...ofEach(
    'cache',
    ({ outside, inside, plan }, { hits = 0, misses = 0, stale = 0, unkeyed = 0 }, { samples }) => [
      ...between(
        'hits, misses and unkeyed',
        hits + misses + unkeyed,
        shared(outside.filter((one) => !mayBeLate(one))),
        shared(outside),
      ),
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
