import type { Dispatcher } from 'undici'

/** What an upstream without a socket answers, piece by piece. */
export interface Script {
  readonly status?: number
  readonly headers?: Record<string, string | string[]>
  readonly pieces: readonly Uint8Array[]
  /** Instead of the end. */
  readonly error?: Error
}

/** One answer that was begun. */
export interface Exchanged {
  readonly path: string
  /** The bytes have been given, all of them, or up to where they were refused. */
  readonly over: boolean
  readonly aborted: boolean
}

/**
 * A dispatcher that answers at once from a script: for so many awkward answers as no server could
 * give in a test's time.
 */
export function scriptedDispatcher(
  next: () => Script,
): Dispatcher & { readonly exchanges: readonly Exchanged[] } {
  const exchanges: { path: string; over: boolean; aborted: boolean }[] = []
  const dispatch = (
    { path }: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean => {
    const { status = 200, headers = {}, pieces, error } = next()
    const exchange = { path, over: false, aborted: false }
    exchanges.push(exchange)
    let at = -1
    let paused = false
    const end = (run: () => void) => {
      if (exchange.over) return
      exchange.over = true
      run()
    }
    const controller: Dispatcher.DispatchController = {
      get aborted() {
        return exchange.aborted
      },
      get paused() {
        return paused
      },
      get reason() {
        return null
      },
      rawHeaders: null,
      abort(reason) {
        if (exchange.aborted || exchange.over) return
        exchange.aborted = true
        queueMicrotask(() => end(() => handler.onResponseError?.(controller, reason)))
      },
      pause() {
        paused = true
      },
      resume() {
        if (!paused) return
        paused = false
        queueMicrotask(feed)
      },
    }
    const feed = () => {
      while (!paused && !exchange.aborted && !exchange.over) {
        if (at < 0) handler.onResponseStart?.(controller, status, headers)
        else if (at < pieces.length) handler.onResponseData?.(controller, pieces[at] as Buffer)
        else if (error) return end(() => handler.onResponseError?.(controller, error))
        else return end(() => handler.onResponseEnd?.(controller, {}))
        at++
      }
    }
    handler.onRequestStart?.(controller, {})
    queueMicrotask(feed)
    return true
  }
  return { dispatch, exchanges } as unknown as Dispatcher & {
    readonly exchanges: readonly Exchanged[]
  }
}

/** The bytes, cut at these places. */
export function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [
    0,
    ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ]
  return sorted.slice(1).map((end, i) => bytes.subarray(sorted[i], end))
}
