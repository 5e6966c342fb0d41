import type { Passed } from '../support/history-layers.js'
import { GRAIN_MS } from './judging.js'

interface Rules {
  readonly maxWaitMs: number
  /** Whether a call may go before another of the same priority that came first. */
  mayPass(one: Passed, other: Passed): boolean
}

/**
 * Whom a call that begins has passed over although he came first or matters more, and still waited.
 */
export function overtaken(
  one: Passed,
  outside: readonly Passed[],
  went: Map<Passed | undefined, Passed>,
  { maxWaitMs, mayPass }: Rules,
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
    if (other.context.priority === from.context.priority && mayPass(from, other)) return []
    // Whose turn has come takes some steps to begin; who matters more may come just then.
    if (other.began.place > from.began.place && other.began.at === began.at) return []
    // So may who comes when there is room for both.
    if (from.began.at === began.at && start?.began.at === began.at) return []
    // It leaves the room at once, and says so some steps later.
    const isLeaving =
      other.context.cancel.aborted && (other.settled?.at ?? Number.POSITIVE_INFINITY) <= began.at
    const isOver =
      began.at >= Math.min(other.context.deadline - GRAIN_MS, other.began.at + maxWaitMs)
    return isLeaving || isOver
      ? []
      : [
          `a call began at ${began.at} before one of priority ${other.context.priority} that had waited longer`,
        ]
  })
}

/** A call that runs only if that is possible at once: it waits for nothing and passes nobody. */
export function waitedBeforeRun(
  { from, began, context }: Passed,
  outside: readonly Passed[],
  went: Map<Passed | undefined, Passed>,
): string[] {
  if (from === undefined || !context.optional) return []
  if (began.at > from.began.at) return [`a second try waited until ${began.at}`]
  const waits = outside.some((other) => {
    const until = went.get(other)?.began ?? other.settled
    // Who matters more waits for none of the others.
    if (other.context.priority < context.priority) return false
    return other.began.at < began.at && (until?.at ?? Number.POSITIVE_INFINITY) > began.at
  })
  return waits ? [`a second try went on at ${began.at} before others that waited`] : []
}
