import { isStackError } from '../errors.js'
import type { EventCode, EventOutcome } from './index.js'

/** How an answer ended, as reported by a stream. */
export interface EndOf {
  readonly outcome: 'complete' | 'failed' | 'left'
  readonly error?: unknown
}

/** The cancellation that the work followed. */
export interface Cancelled {
  readonly aborted: boolean
  readonly reason: unknown
}

/** The outcome of a call or attempt, for events. */
export interface Outcome {
  readonly outcome: EventOutcome
  readonly code?: EventCode | undefined
  readonly layer?: string | undefined
}

/**
 * Derives the outcome. A time limit or a closing stack also aborts the work, with an error of its
 * own; work may replace that error with a plain abort error. So the abort reason is read as well.
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
 * Code and layer of an error of this library, which are safe to publish. Any other value may be a
 * proxy that throws when read.
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
