import { hookFailed, watchHook } from '../warn.js'

/** How an answer ended. `left`: the reader left before the stream's end. */
export interface StreamEnd {
  readonly outcome: 'complete' | 'failed' | 'left'
  readonly error?: unknown
  /** Whether the delivered answer may be stored for others, if the source knows. */
  readonly cacheable?: boolean
}

/** The end of a value, or of a stream whose source knows nothing more about it. */
export const COMPLETE: StreamEnd = Object.freeze({ outcome: 'complete' })

/** Called once when an answer has ended: a function, or a layer's record of a call. */
export type OnEnd = ((end: StreamEnd) => void) | { ended(end: StreamEnd): void }

/** Calls a listener. Its errors become warnings, so that they do not reach the stream. */
export function notifyEnd(listener: OnEnd, end: StreamEnd): void {
  try {
    const result: unknown = typeof listener === 'function' ? listener(end) : listener.ended(end)
    watchHook('onEnd()', result)
  } catch (error) {
    hookFailed('onEnd()', error)
  }
}
