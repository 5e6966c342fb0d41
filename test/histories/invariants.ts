import { isDeepStrictEqual } from 'node:util'
import { isStackError, TimeoutError } from '../../src/core/index.js'
import type { CacheNote } from '../../src/layers/cache/index.js'
import { type LayerPlan, mostInFlight, targetsOf } from '../support/history-plans.js'
import { PROBED } from '../support/history-probe.js'
import { type Called, REASON, type Recorded } from '../support/history-run.js'
import { CHUNKS, chunksOf, partsOf } from '../support/history-traits.js'
import type { Part, Served } from '../support/history-upstream.js'
import { each, GRAIN_MS, has, type Invariant, isOwn, show } from './judging.js'

/** Never more upstream than the narrowest layer lets through, a stream until its end. */
export const boundedInFlight: Invariant = ({ plan: { layers }, peak }) => {
  const limit = mostInFlight(layers)
  // What goes elsewhere passes only the layers further out.
  const limitElsewhere = layers.reduce(
    (sum, plan, i) =>
      targetsOf(plan).length > 0 ? sum + mostInFlight(layers.slice(0, i + 1)) : sum,
    0,
  )
  return [
    ...(peak.here > limit ? [`${peak.here} requests were upstream, ${limit} allowed`] : []),
    ...(peak.elsewhere > limitElsewhere
      ? [`${peak.elsewhere} requests were elsewhere, ${limitElsewhere} allowed`]
      : []),
  ]
}

/** Every call settles, every stream that is read ends, nothing stays at work. */
export const everythingSettles: Invariant = ({ plan, called, left }) => [
  ...(called.length === plan.calls.length
    ? []
    : [`${called.length} of ${plan.calls.length} calls were made`]),
  ...each(called, ({ settled, answer, error, reading, plan: { stream } }) => {
    if (settled === undefined) return 'never settled'
    if (reading === undefined && (answer === undefined) === (error === undefined))
      return 'settled with an answer and an error, or neither'
    return stream && answer !== undefined && reading === undefined && 'is a stream that never ended'
  }),
  ...(left.active === 0 ? [] : [`${left.active} requests are still upstream`]),
]

/**
 * After any storm the slots are all there, and not one more; a breaker has closed again, no call is
 * stuck.
 */
export const slotsComeBack: Invariant = ({ plan: { layers }, probe }) => {
  if (probe === undefined) return []
  const most = Math.min(probe.fits, PROBED)
  // A call that is refused may be answered by another model, which has a limit of its own.
  const goesOn = layers.some(({ kind }) => kind === 'fallback')
  const mostOfAll = Math.min(goesOn ? probe.fits + 1 : probe.fits, PROBED + 1)
  const refusals = ['QUEUE_FULL', 'RATE_LIMITED', 'TIMEOUT', 'BREAKER_OPEN']
  return [
    ...(probe.alone === CHUNKS
      ? []
      : [`the first call after the storm gave ${String(probe.alone)}`]),
    ...(probe.full === most
      ? []
      : [`${probe.full} calls ran at once after the storm, ${most} should`]),
    ...(probe.over <= mostOfAll
      ? []
      : [`with one call more ${probe.over} ran at once, ${mostOfAll} should`]),
    ...(probe.outcomes.length > most ? [] : ['the calls after the storm never ended']),
    ...probe.outcomes.flatMap((outcome, i) => {
      const isFine = outcome === CHUNKS || (i >= most && refusals.includes(String(outcome)))
      return isFine || (i >= most && goesOn)
        ? []
        : [`call ${i} after the storm gave ${String(outcome)}`]
    }),
  ]
}

/** Tries that a layer makes of one call at most. */
function triesOf({ kind, options }: LayerPlan): number {
  if (kind === 'retry') return options.retries + 1
  if (kind === 'fallback') return options.to.length + 1
  return kind === 'hedge' ? 2 : 1
}

/**
 * Each call for a prompt, and each renewal of its entry, makes so many attempts upstream and no
 * more.
 */
export const boundedAttempts: Invariant = (history) => {
  const { plan, called, served, atRest } = history
  const attempts = plan.layers.reduce((product, plan) => product * triesOf(plan), 1)
  // Halving a refused batch asks for an input again at each level; the largest batch has five.
  const halvings = has(history, 'batcher') ? 4 : 1
  const renewals = Number(atRest.cache?.stale ?? 0)
  const count = new Map<string, number>()
  for (const { prompts } of served)
    for (const prompt of prompts) count.set(prompt, (count.get(prompt) ?? 0) + 1)
  return [...count].flatMap(([prompt, requests]) => {
    const calls = prompt.startsWith('probe')
      ? 1
      : called.filter((call) => call.plan.prompt === prompt).length
    const most = (calls + (prompt.startsWith('shared') ? renewals : 0)) * attempts * halvings
    return requests > most ? [`${requests} requests were made for ${prompt}, ${most} allowed`] : []
  })
}

/**
 * Nobody waits after the deadline of the call, nothing new comes, and no work is done for callers
 * who have gone. What came before a failure is the reader's for good: nothing is held for it.
 */
export const keepsTime: Invariant = ({ called, served, closed, plan }) => [
  ...each(called, (call) => {
    const deadline = call.began.at + call.plan.timeoutMs + GRAIN_MS
    if (call.settled && call.settled.at > deadline)
      return `settled ${call.settled.at - deadline} ms after its deadline`
    const isOver = call.ended !== undefined && call.ended.at <= deadline
    if (!isOver && call.chunks.some(({ at }) => at > deadline))
      return 'was given a chunk after its deadline'
    if (!isOwn(call)) return false
    const over = call.answer === undefined || !call.plan.stream ? call.settled : call.readEnded
    const until = Math.min(
      deadline,
      call.plan.reading.take === 'nothing' && call.answer ? deadline : (over?.at ?? deadline),
    )
    const late = served.find(
      ({ prompts, ended }) =>
        prompts.length === 1 &&
        prompts[0] === call.plan.prompt &&
        (ended?.at ?? Number.POSITIVE_INFINITY) > until,
    )
    return late && `is over, and its request ${late.serial} goes on`
  }),
  ...(closed && plan.close ? closing(closed, plan.close.timeoutMs, called) : []),
]

function closing(
  { began: closedAt, ended }: NonNullable<Recorded['closed']>,
  timeoutMs: number,
  called: readonly Called[],
): string[] {
  const limit = closedAt.at + timeoutMs + GRAIN_MS
  return [
    ...(ended !== undefined && ended.at <= limit + 1_000
      ? []
      : ['close() took longer than its limit']),
    ...each(called, ({ began, settled, readEnded, plan }) => {
      if (settled && settled.at > Math.max(limit, began.at)) return 'was not cut by close()'
      return (
        plan.reading.pauseMs === 0 &&
        plan.reading.take !== 'nothing' &&
        readEnded &&
        readEnded.at > limit &&
        'was read after close()'
      )
    }),
  ]
}

/** Layers that refuse calls with `RATE_LIMITED`. */
const LIMITING = ['queue', 'pool', 'rateLimit'] as const

/** Errors are the caller's own reason, upstream's, or a refusal by a layer that is there. */
export const honestErrors: Invariant = (history) =>
  each(history.called, ({ error, aborted, settled, readEnded, reading, plan }) => {
    const over = reading === undefined ? settled : readEnded
    const wasAborted = aborted !== undefined && over !== undefined && aborted.place < over.place
    if (error === REASON && !wasAborted) return 'gave an abort that nobody made'
    // Who pauses between two reads, or never reads, learns of it later or not at all.
    const isAttentive =
      reading === undefined || (plan.reading.pauseMs === 0 && reading !== 'unread')
    if (wasAborted && isAttentive && error !== REASON) return `was aborted and gave ${show(error)}`
    if (error === undefined || error === REASON) return false
    if (!isStackError(error)) {
      return (error as Error).message.startsWith('the function') ? false : `gave ${String(error)}`
    }
    const made: Record<string, boolean> = {
      QUEUE_FULL: has(history, 'queue') || has(history, 'pool'),
      BREAKER_OPEN: has(history, 'breaker'),
      CLOSED: history.plan.close !== undefined,
      TIMEOUT: true,
    }
    const { code } = error
    const told = history.served.some(
      ({ behaviour: { error: said, does } }) =>
        said === code || (code === 'STREAM' && does === 'cut'),
    )
    const mayLimit = LIMITING.some((kind) => has(history, kind))
    const limited = code === 'RATE_LIMITED' && error.refused && mayLimit
    return !(made[code] ?? (told || limited)) && `gave ${code}, which nobody said`
  })

/** Every answer is the whole, faultless answer to its own request, for its own tenant. */
export const trueAnswers: Invariant = ({ called, served, plan: { layers } }) => {
  const others = new Set(layers.flatMap(targetsOf))
  return each(called, ({ plan, answer, reading, chunks, meta, behind }) => {
    if (answer === undefined) return false
    const from = plan.stream ? chunks[0]?.chunk : (answer as Part[])[0]
    const source: Served | undefined = from && served[from.serial]
    if (source === undefined) {
      return (
        (!plan.stream || (reading === 'complete' && !emptyIsFine(served, plan.prompt))) &&
        'has an answer from nowhere'
      )
    }
    if (!source.prompts.includes(plan.prompt))
      return `was given the answer to ${source.prompts.join()}`
    if (source.model !== plan.model && !others.has(source.model))
      return `asked ${plan.model} and was answered by ${source.model}`
    if (source.tenant !== plan.tenant) return `was given an answer of tenant ${source.tenant}`
    const stored = (meta.get('cache') as CacheNote | undefined)?.status
    if ((stored === 'hit' || stored === 'stale') && source.outcome !== 'complete')
      return `was given a stored answer that ${source.outcome}`
    if (!plan.stream) {
      const part = partsOf(source).find(({ prompt }) => prompt === plan.prompt)
      if (source.outcome !== 'complete') return `was given an answer that ${source.outcome}`
      return !isDeepStrictEqual(answer, [part]) && 'was given a spoiled answer'
    }
    const all = chunksOf({ ...source, prompts: [plan.prompt] })
    const given = chunks.map(({ chunk }) => chunk)
    if (!isDeepStrictEqual(given, all.slice(0, given.length)))
      return `was given other chunks than were sent: ${JSON.stringify(given)}`
    if (source.stream && given.length > source.sent) return 'was given more than was sent'
    if (reading === 'complete' && given.length !== all.length && source.outcome !== 'short')
      return 'ended early without an error'
    if (reading === 'complete' && source.outcome === 'short' && given.length !== source.sent)
      return 'ended before its source'
    if (reading === 'unread')
      return (
        (behind.length > 1 || !behind.every((one) => one instanceof Error)) &&
        'gave chunks after its end'
      )
    return behind.length > 0 && 'went on after its end'
  })
}

/** A stream may be empty when upstream's was. */
const emptyIsFine = (served: readonly Served[], prompt: string) =>
  served.some(
    ({ prompts, outcome, sent }) => prompts[0] === prompt && outcome === 'short' && sent === 0,
  )

/**
 * The reader's pace reaches upstream: at most what is held back before the commit is sent and not
 * delivered.
 */
export const backPressure: Invariant = ({ called, served, atRest }) => {
  const renewals = Number(atRest.cache?.stale ?? 0)
  return served.flatMap(({ serial, stream, sent, prompts }) => {
    if (!stream || renewals > 0 || prompts[0]?.startsWith('probe')) return []
    const delivered = called.map(
      ({ chunks }) => chunks.filter(({ chunk }) => chunk.serial === serial).length,
    )
    const most = Math.max(0, ...delivered)
    return sent > most + 2 ? [`request ${serial} sent ${sent} chunks when ${most} were read`] : []
  })
}

/** Nothing is left behind: no timer, no listener on the caller's signal, no work. */
export const nothingLeft: Invariant = ({ left, closed }) => [
  ...(closed?.ended ? [] : ['close() never resolved']),
  ...(left.timers === 0 ? [] : [`${left.timers} timers are left`]),
  ...(left.listeners === 0 ? [] : [`${left.listeners} listeners are left on the callers' signal`]),
]

/** A time-out says which limit it was. */
export const tellingTimeouts: Invariant = ({ called }) =>
  each(called, ({ error, plan, settled, began }) => {
    if (!(error instanceof TimeoutError)) return false
    return (
      error.phase === 'total' &&
      settled &&
      error.ms < 1 &&
      plan.timeoutMs >= 1 &&
      `says ${error.ms} ms after ${settled.at - began.at}`
    )
  })
