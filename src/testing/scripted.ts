import { type Context, isError, Timer } from '../core/index.js'

/**
 * One step of a script: an answer, an `Error` to throw, or a function that is called like the base.
 */
export type Step<Request, Answer> =
  | Answer
  | Error
  | ((request: Request, context: Context) => Answer | Promise<Answer>)

/** One call of a scripted handler, as it saw it. */
export interface ScriptedCall<Request> {
  readonly request: Request
  readonly context: Context
  /** Whether the call was aborted from outside so far. */
  readonly aborted: boolean
}

/** A base that plays a script, and what it saw. */
export interface Scripted<Request, Answer> {
  /** Plays the next step. */
  (request: Request, context: Context): Promise<Answer>
  /** The calls so far, in order. */
  readonly calls: readonly ScriptedCall<Request>[]
  /** Gauge: calls whose answer has not been given. */
  readonly running: number
}

/**
 * A base that plays a script: one step for each call. The last step is repeated when the script is
 * over. With it a stack is tried without a network and without waiting.
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
  /** After the last chunk, throw this instead of ending. */
  error?: unknown
  /**
   * After the last chunk, neither end nor fail: stay silent until the reader leaves. @default false
   */
  stall?: boolean | undefined
  /** Wait before each chunk, by the global timers. Milliseconds. @default 0 */
  delayMs?: number | undefined
}

/** A stream to answer with, and how it was read. */
export interface ChunkSource<Chunk> extends AsyncIterable<Chunk> {
  /** Chunks given so far, over all readings. */
  readonly sent: number
  /** Readings under way. */
  readonly open: number
  /** Readings that were left before their end. */
  readonly left: number
}

/**
 * A stream to answer with: gives the chunks one for one as they are asked for, then ends, fails or
 * falls silent. It can be read again.
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
