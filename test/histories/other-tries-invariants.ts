import { ANSWERED_BY, type AnsweredBy, isStackError } from '../../src/core/index.js'
import type { CacheNote } from '../../src/layers/cache/index.js'
import type { Moment } from '../support/history-clock.js'
import type { Passed } from '../support/history-layers.js'
import type { Part } from '../support/history-upstream.js'
import { each, equal, type Invariant, mostAtOnce, type Of, ofEach } from './judging.js'

/** All tries that a layer has made of each call, whether inward or elsewhere, in order. */
function triesOf({ outside, inside, elsewhere }: Of<'fallback' | 'hedge'>): Map<Passed, Passed[]> {
  const all = [...inside, ...elsewhere].sort((a, b) => a.began.place - b.began.place)
  return new Map(outside.map((one) => [one, all.filter(({ from }) => from === one)]))
}

const NEVER = { at: Number.POSITIVE_INFINITY, place: Number.POSITIVE_INFINITY }

/** Whether a try has given an answer: a stream that broke later has. */
const isAnswered = ({ settled, ended, outcome }: Passed): boolean =>
  settled !== undefined && (outcome !== 'failed' || (ended ?? NEVER).place > settled.place + 1)

const codeOf = (error: unknown): string => (isStackError(error) ? error.code : String(error))

/** After these nobody else is asked: the request is wrong, or the program. */
const isFinal = (error: unknown): boolean =>
  isStackError(error) ? error.code === 'BAD_REQUEST' : error instanceof TypeError

/** Who has been asked in a try. */
const askedIn = ({ site, ask }: Passed): string => (site === 'here' ? ask.model : site)

/**
 * The candidates are asked in turn, each once a call, only after a failure that deserves it and never
 * after an answer has begun, after the deadline or once the stack closes.
 */
export const fallbackKeepsRules: Invariant = ofEach('fallback', (layer, _, { closed }) => {
  const { to } = layer.plan.options
  return [...triesOf(layer)].flatMap(([call, tries]) => {
    const asked = tries.map(askedIn)
    const known = new Set([call.ask.model, ...to])
    return [
      ...asked.filter((who) => !known.has(who)).map((who) => `${who} was asked, who is not listed`),
      ...(new Set(asked).size === asked.length ? [] : [`asked of one call: ${asked.join()}`]),
      ...tries.slice(1).flatMap(({ began, context }, i) => {
        const before = tries[i] as Passed
        if ((before.ended ?? NEVER).place > began.place) return ['two were asked at the same time']
        if (isAnswered(before)) return [`${asked[i + 1]} was asked after an answer`]
        if (isFinal(before.error)) return [`another was asked after ${codeOf(before.error)}`]
        if (began.at >= context.deadline) return ['another was asked after the deadline']
        return began.place > (closed?.began ?? NEVER).place
          ? ['another was asked while the stack closed']
          : []
      }),
    ]
  })
})

/** A call fails only when nobody is left who may be asked, and then as the last one did. */
export const fallbackAsksAll: Invariant = ofEach('fallback', (layer, stats, { closed }) => {
  const calls = [...triesOf(layer)]
  const used = calls.filter(([call, tries]) => {
    const last = tries.at(-1)
    return last !== undefined && isAnswered(call) && askedIn(last) !== call.ask.model
  })
  return [
    ...calls.flatMap(([call, tries]) => {
      const last = tries.at(-1)
      if (last === undefined) return ['nobody was asked']
      if (isAnswered(call) || call.context.cancel.aborted || isFinal(last.error)) return []
      if (isAnswered(last)) return ['an answer was lost']
      if (call.error !== last.error) return [`it failed with ${codeOf(call.error)}`]
      const isOver = (call.settled ?? NEVER).at >= call.context.deadline
      if (isOver || (call.settled ?? NEVER).place > (closed?.began ?? NEVER).place) return []
      const all = new Set([call.ask.model, ...layer.plan.options.to])
      return tries.length === all.size
        ? []
        : [`${all.size} could be asked, and ${tries.length} were`]
    }),
    ...equal('used', stats.used, used.length),
  ]
})

/** What ends both tries of a call, when they pay by the same key and when they do not. */
const ENDS_BOTH = ['BAD_REQUEST', 'AUTH', 'PAYMENT', 'FORBIDDEN']

/**
 * A call has a second try at most, elsewhere, when the first is slow, and an answer of one of them.
 * The other one is aborted, and has given back all that it held.
 */
export const hedgeKeepsRules: Invariant = ofEach('hedge', (layer) => {
  const { delayMs } = layer.plan.options
  return [...triesOf(layer)].flatMap(([call, tries]) => {
    const [first, second, third] = tries
    if (first === undefined) return ['a call was not tried']
    if (third !== undefined) return [`${tries.length} tries were made of one call`]
    if (second === undefined) return []
    if (call.context.optional) return ['a second try had a second try of its own']
    return [...goesSecond(layer, call, first, second, delayMs), ...endsOnce(call, first, second)]
  })
})

function goesSecond(
  { plan: { options } }: Of<'hedge'>,
  call: Passed,
  first: Passed,
  { began, site, ask, context }: Passed,
  delayMs: number,
): string[] {
  const to = options.to.filter((target) => target !== call.ask.model)
  const [isHere, where] = [site === 'here', site === 'here' ? ask.model : site]
  return [
    ...(began.at >= first.began.at + delayMs ? [] : ['a second try came too early']),
    ...(began.place < (call.settled ?? NEVER).place ? [] : ['a second try came after the answer']),
    // Both may be due at the same moment.
    ...(began.at <= (first.settled ?? NEVER).at ? [] : ['a second try came after a failure']),
    ...(began.at <= context.deadline ? [] : ['a second try came after the deadline']),
    ...(context.optional || !isHere ? [] : ['a second try may wait']),
    ...((to.length > 0 && to[0] === where) ||
    (options.to.length === 0 && ask.model === call.ask.model)
      ? []
      : [`a second try went to ${where}, not to ${to[0]}`]),
  ]
}

function endsOnce(call: Passed, first: Passed, second: Passed): string[] {
  const tries = [first, second]
  const settled = call.settled ?? NEVER
  const hasFailed = (one: Passed) => !isAnswered(one) && (one.ended ?? NEVER).place < settled.place
  if (!isAnswered(call)) {
    if (call.context.cancel.aborted || ENDS_BOTH.includes(codeOf(call.error))) return []
    const running = tries.filter((one) => !hasFailed(one))
    return running.length === 0 || isFinal(call.error)
      ? []
      : [`it failed with ${codeOf(call.error)} while another try went on`]
  }
  const winners = tries.filter((one) => isAnswered(one) && one.settled?.at === settled.at)
  const others = tries.filter((one) => !winners.includes(one) && !hasFailed(one))
  return [
    ...(winners.length > 0 ? [] : ['its answer is of none of its tries']),
    ...others.flatMap((one) => {
      if (!one.context.cancel.aborted) return ['the try that lost was not aborted']
      // Who ignores the abort may answer: that ends at once.
      return one.ended !== undefined && one.ended.at === one.settled?.at
        ? []
        : ['the try that lost went on']
    }),
  ]
}

const earlier = (one: Moment = NEVER, other: Moment = NEVER): Moment =>
  one.place < other.place ? one : other

/** Notes tell which model has answered. What comes out of a cache has none of its own. */
export const notesTellWhoAnswered: Invariant = ({ called, served }) =>
  each(called, ({ plan: { stream }, answer, chunks, meta }) => {
    const by = meta.get(ANSWERED_BY) as AnsweredBy | undefined
    const from = stream ? chunks[0]?.chunk : (answer as Part[] | undefined)?.[0]
    const status = (meta.get('cache') as CacheNote | undefined)?.status
    if (by?.model === undefined || from === undefined || status === 'hit' || status === 'stale')
      return false
    const source = served[from.serial]
    return source?.model !== by.model && `was answered by ${source?.model}, not by ${by.model}`
  })

/** Second tries are counted, and keep within the budget. */
export const hedgeKeepsBudget: Invariant = ofEach('hedge', (layer, stats) => {
  const { hedged = 0, won = 0, lost = 0, refused = 0 } = stats
  const { budget } = layer.plan.options
  const calls = [...triesOf(layer)]
  // From the moment of the answer on, a second try is the call.
  const seconds = calls.flatMap(([{ settled }, [, second]]) =>
    second === undefined ? [] : [{ began: second.began, ended: earlier(settled, second.settled) }],
  )
  const answered = calls.filter(([call]) => isAnswered(call)).length
  const saved = budget && Math.min(budget.start, budget.size) + budget.perSuccess * answered
  return [
    ...equal('won and lost', won + lost, hedged),
    ...(seconds.length >= hedged && seconds.length <= hedged + refused
      ? []
      : [`${seconds.length} second tries were made, ${hedged} counted and ${refused} refused`]),
    ...(budget && hedged > Number(saved) + 1e-6
      ? [`${hedged} second tries of ${answered} answers`]
      : []),
    ...(budget && mostAtOnce(seconds) > Math.max(1, 0.1 * layer.outside.length)
      ? [`${mostAtOnce(seconds)} second tries at the same time`]
      : []),
  ]
})
