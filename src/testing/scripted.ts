import { type Context, isError, Timer } from '../core/index.js'

/**
 * One step of a script: an answer, an `Error` to throw, or a function that is called like the base.
 */
export type Step<Request, Answer> =
  | Answer
  | Error
  | ((request: Request, context: Context) => Answer | Promise<Answer>)

/** One call of a scripted base, as the base saw it. */
export interface ScriptedCall<Request> {
  readonly request: Request
  readonly context: Context
  /** Whether the call has been aborted so far. */
  readonly aborted: boolean
}

/** A base that follows a script, with a record of its calls. */
export interface Scripted<Request, Answer> {
  /** Runs the next step. */
  (request: Request, context: Context): Promise<Answer>
  /** The calls so far, in order. */
  readonly calls: readonly ScriptedCall<Request>[]
  /** Gauge: calls without an answer yet. */
  readonly running: number
}

/**
 * Creates a base that follows a script: one step per call. The last step repeats. Use it to test a
 * stack without a network and without waiting.
 *
 * @throws TypeError when there is no step
 * @example
 * const upstream = scripted<string, string>([new Error('down'), 'Hello'])
 * const ask = stack(upstream, retry({ minDelayMs: 0 }))
 * await ask('Hi') // 'Hello', after upstream.calls.length === 2
 */
export function scripted<Request = unknown, Answer = unknown>(
  steps: readonly Step<Request, Answer>[],
): Scripted<Request, Answer> {
  if (!Array.isArray(steps) || steps.length === 0)
    throw new TypeError('scripted: the script needs at least one step.')
  const calls: ScriptedCall<Request>[] = []
  let running = 0
  const play = async (request: Request, context: Context): Promise<Answer> => {
    const step = steps[Math.min(calls.length, steps.length - 1)] as Step<Request, Answer>
    calls.push({
      request,
      context,
      get aborted() {
        return context.cancel.aborted
      },
    })
    running++
    try {
      if (isError(step)) throw step
      return typeof step === 'function'
        ? await (step as (request: Request, context: Context) => Answer)(request, context)
        : step
    } finally {
      running--
    }
  }
  return Object.defineProperties(play, {
    calls: { value: calls },
    running: { get: () => running },
  }) as Scripted<Request, Answer>
}

/** Options of `chunkSource()`. */
export interface ChunkSourceOptions {
  /** Throws this after the last chunk, instead of ending. */
  error?: unknown
  /** Goes silent after the last chunk, until the reader leaves. @default false */
  stall?: boolean | undefined
  /** Delay before each chunk. Milliseconds. @default 0 */
  delayMs?: number | undefined
}

/** A stream to answer with, with counters of how it was read. */
export interface ChunkSource<Chunk> extends AsyncIterable<Chunk> {
  /** Chunks delivered so far, over all readings. */
  readonly sent: number
  /** Readings in progress. */
  readonly open: number
  /** Readings that were left before the end. */
  readonly left: number
}

/**
 * Creates a stream to answer with. It delivers the chunks on demand, then ends, fails or goes
 * silent. It can be read several times.
 *
 * @example
 * const broken = chunkSource(['Hel', 'lo'], { error: new Error('cut') })
 * const ask = stack(scripted([() => broken]), queue({ concurrency: 1 }))
 */
export function chunkSource<Chunk>(
  chunks: Iterable<Chunk>,
  options: ChunkSourceOptions = {},
): ChunkSource<Chunk> {
  const { delayMs = 0, stall = false } = options
  const all = [...chunks]
  const counts = { sent: 0, open: 0, left: 0 }

  const read = (): AsyncIterator<Chunk, undefined> => {
    let at = 0
    let over = false
    let leave: (() => void) | undefined
    counts.open++
    const close = () => {
      if (over) return
      over = true
      counts.open--
    }
    const pause = (ms: number | undefined) =>
      new Promise<void>((resolve) => {
        const timer = ms === undefined ? undefined : new Timer(ms, resolve)
        leave = () => {
          timer?.stop()
          resolve()
        }
      })
    return {
      async next() {
        if (!over && at < all.length && delayMs > 0) await pause(delayMs)
        if (!over && at === all.length && stall) await pause(undefined)
        if (over) return { done: true, value: undefined }
        if (at < all.length) {
          counts.sent++
          return { done: false, value: all[at++] as Chunk }
        }
        close()
        if ('error' in options) throw options.error
        return { done: true, value: undefined }
      },
      async return() {
        if (!over) counts.left++
        close()
        leave?.()
        return { done: true, value: undefined }
      },
    }
  }
  return {
    [Symbol.asyncIterator]: read,
    get sent() {
      return counts.sent
    },
    get open() {
      return counts.open
    },
    get left() {
      return counts.left
    },
  }
}
