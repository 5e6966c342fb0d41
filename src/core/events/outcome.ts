import { isStackError } from '../errors.js'
import type { EventCode, EventOutcome } from './index.js'

/** How an answer ended, as a stream reports it. */
export interface EndOf {
  readonly outcome: 'complete' | 'failed' | 'left'
  readonly error?: unknown
}

/** The cancellation that the work followed. */
export interface Cancelled {
  readonly aborted: boolean
  readonly reason: unknown
}

/** What an end comes down to. */
export interface Outcome {
  readonly outcome: EventOutcome
  readonly code?: EventCode | undefined
  readonly layer?: string | undefined
}

/**
 * What a failure comes down to. A time limit or a closing stack aborts as well, but with an
 * error of its own, which work may replace by one that only names an abort.
 */
export function outcomeOf({ outcome, error }: EndOf, { aborted, reason }: Cancelled): Outcome {
  if (outcome !== 'failed') return { outcome }
  const known = readError(error) ?? (aborted ? readError(reason) : undefined)
  if (known !== undefined) return { outcome, ...known }
  return aborted ? { outcome: 'aborted' } : { outcome, code: 'ERROR' }
}

/** An error's code, or `ERROR`. */
export const codeOf = (error: unknown): EventCode => readError(error)?.code ?? 'ERROR'

/**
 * What is safe to tell of an error of this library. Any other may be anything, a proxy too, of
 * which any reading may throw.
 */
function readError(error: unknown): { code: EventCode; layer?: string } | undefined {
  try {
    if (!isStackError(error) || !/^[A-Z_]{1,32}$/.test(error.code)) return undefined
    return error.layer === undefined
      ? { code: error.code }
      : { code: error.code, layer: error.layer }
  } catch {
    return undefined
  }
}
