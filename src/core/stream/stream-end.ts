import { hookFailed, watchHook } from '../warn.js'

/** How an answer ended. `left`: the reader of a stream went before its end. */
export interface StreamEnd {
  readonly outcome: 'complete' | 'failed' | 'left'
  readonly error?: unknown
  /** Whether what was delivered may be kept for others, when the source can tell. */
  readonly cacheable?: boolean
}

/** The end of a value, and of a stream whose source knows no more about it. */
export const COMPLETE: StreamEnd = Object.freeze({ outcome: 'complete' })

/** Is called once when an answer has ended: a function, or a layer's record of a call. */
export type OnEnd = ((end: StreamEnd) => void) | { ended(end: StreamEnd): void }

/** Calls a listener. What it throws must not reach the stream. */
export function notifyEnd(listener: OnEnd, end: StreamEnd): void {
  try {
    const result: unknown = typeof listener === 'function' ? listener(end) : listener.ended(end)
    watchHook('onEnd()', result)
  } catch (error) {
    hookFailed('onEnd()', error)
  }
}
