import { atOnce, cancelOf, now, rules, runHook, ValidationError } from '../../core/index.js'
import { entriesOf, readArguments } from '../arguments.js'
import type { TextOptions, TextResult } from '../types.js'
import { Checkpoint } from './checkpoint.js'

/** One prompt's outcome; `index` is its place among the prompts, from 0. */
export type BatchOutcome =
  | ({ readonly index: number; readonly ok: true } & TextResult)
  | { readonly index: number; readonly ok: false; readonly error: unknown }

/** How far a batch is. */
export interface BatchProgress {
  /** Outcomes so far, failures included. */
  readonly done: number
  readonly failed: number
  readonly running: number
  /** How many there are, when that is known. */
  readonly total: number | undefined
  readonly elapsedMs: number
}

/** Options of `text.batch()`; the others are each prompt's, as for `text.generate()`. */
export interface BatchOptions extends Omit<TextOptions, 'meta' | 'deadline'> {
  /** Prompts in progress at once. @default 5 */
  concurrency?: number | undefined
  /** Outcomes as they come, or in the order of the prompts. @default 'finished' */
  order?: 'finished' | 'input' | undefined
  /** Told after each outcome. What it throws is a warning and changes nothing. */
  onProgress?: ((progress: BatchProgress) => void) | undefined
  /**
   * Rough cost of a prompt, in any unit: the costliest begin first. It needs all prompts at once,
   * so it reads them all.
   */
  estimate?: ((prompt: string) => number) | undefined
  /**
   * A file to which each success is added as a line of JSON; those it holds already are not asked
   * for again.
   */
  checkpoint?: string | undefined
}

/** Outcomes that may wait for their reader, or for their turn, before no more prompts are begun. */
const AHEAD = 1_000

type Generate = (prompt: string, options: TextOptions) => Promise<TextResult>
type Prompts = Iterable<string> | AsyncIterable<string>

/**
 * A sliding window over the prompts: as soon as one has its outcome the next one begins. Leaving
 * the loop, or the signal, ends the calls in progress.
 * @internal
 */
export async function* runBatch(
  generate: Generate,
  prompts: Prompts,
  options?: BatchOptions,
): AsyncGenerator<BatchOutcome, undefined, undefined> {
  const {
    concurrency,
    order,
    onProgress,
    estimate,
    checkpoint: file,
    signal,
    rest,
  } = readBatchOptions(prompts, options)
  signal?.throwIfAborted()
  const source = estimate === undefined ? indexed(prompts) : await costliestFirst(prompts, estimate)
  const checkpoint = file === undefined ? undefined : await Checkpoint.open(file)
  // Sorted by cost, the first prompt may be begun last; all of them are in memory anyway.
  const ahead = estimate === undefined ? AHEAD : Number.POSITIVE_INFINITY
  const leaving = new AbortController()
  const startedAt = now()
  const outcomes = new Map<number, BatchOutcome>()
  let pulling = false
  let exhausted = false
  let running = 0
  let done = 0
  let failed = 0
  let yielded = 0
  let left = false
  let broken: { error: unknown } | undefined
  let wake = () => {}

  const outcomeOf = async (index: number, prompt: string): Promise<BatchOutcome> => {
    const kept = checkpoint?.get(index, prompt)
    if (kept !== undefined) return { ...kept, index, ok: true }
    try {
      const result = await generate(prompt, { ...rest, signal: leaving.signal })
      await checkpoint?.add(index, prompt, result)
      return { index, ok: true, ...result }
    } catch (error) {
      return { index, ok: false, error }
    }
  }
  const run = async (index: number, prompt: string): Promise<void> => {
    running++
    const outcome = await outcomeOf(index, prompt)
    running--
    if (left) return
    done++
    if (!outcome.ok) failed++
    outcomes.set(index, outcome)
    const progress = {
      done,
      failed,
      running,
      total: totalOf(prompts),
      elapsedMs: now() - startedAt,
    }
    if (onProgress) runHook('text.batch: onProgress()', () => onProgress(progress))
    fill()
    wake()
  }
  const fill = (): void => {
    if (pulling || exhausted || running >= concurrency || outcomes.size >= ahead) return
    pulling = true
    source.next().then(
      (next) => {
        pulling = false
        if (exhausted) return
        if (next.done) exhausted = true
        else void run(...next.value)
        fill()
        wake()
      },
      (error) => {
        exhausted = true
        broken = { error }
        wake()
      },
    )
  }
  const onAbort = () => {
    leaving.abort(signal?.reason)
    wake()
  }
  // Many batches may share one long-lived signal: on it they are one listener.
  const unlisten = signal && cancelOf(signal).onAbort(onAbort)
  try {
    fill()
    for (;;) {
      signal?.throwIfAborted()
      const ready = order === 'input' ? outcomes.get(yielded) : outcomes.values().next().value
      if (ready !== undefined) {
        outcomes.delete(ready.index)
        yielded++
        fill()
        yield ready
      } else if (exhausted && running === 0) break
      else
        await new Promise<void>((resolve) => {
          wake = resolve
        })
    }
    if (broken !== undefined) throw broken.error
  } finally {
    exhausted = true
    left = true
    unlisten?.()
    leaving.abort(new DOMException('The batch was left.', 'AbortError'))
    runHook("text.batch: the prompts' return()", () => source.return(undefined))
    await checkpoint?.close()
  }
}

function readBatchOptions(prompts: Prompts, options: BatchOptions | undefined) {
  const entries = entriesOf('text.batch', options)
  const own = entries.filter(([name]) => BATCH_NAMES.has(name) || name === 'signal')
  const { fields, call } = readArguments<BatchFields>('text.batch', Object.fromEntries(own), {
    concurrency: rules.integer(5, { min: 1, max: 10_000 }),
    order: rules.oneOf(['finished', 'input'], 'finished'),
    onProgress: rules.callback<(progress: BatchProgress) => void>(),
    estimate: rules.callback<(prompt: string) => number>(),
    checkpoint: rules.text(undefined),
  })
  const iterable = prompts as Partial<Iterable<string> & AsyncIterable<string>> | null | undefined
  if (
    typeof prompts === 'string' ||
    (!iterable?.[Symbol.iterator] && !iterable?.[Symbol.asyncIterator])
  ) {
    throw new ValidationError(
      'text.batch: the prompts must be a list, or another iterable, of strings.',
    )
  }
  if (call.signal !== undefined && typeof call.signal?.throwIfAborted !== 'function')
    throw new ValidationError('text.batch: option "signal" must be an AbortSignal.')
  // The rest is each call's, and checked by it; a wrong one is every prompt's outcome.
  const rest: Omit<TextOptions, 'signal'> = Object.fromEntries(
    entries.filter(([name]) => !BATCH_NAMES.has(name) && name !== 'signal'),
  )
  return { rest, signal: call.signal, ...fields, concurrency: fields.concurrency ?? 5 }
}

type BatchFields = Pick<
  BatchOptions,
  'concurrency' | 'order' | 'onProgress' | 'estimate' | 'checkpoint'
>
const BATCH_NAMES = new Set(['concurrency', 'order', 'onProgress', 'estimate', 'checkpoint'])

const totalOf = (prompts: Prompts): number | undefined =>
  Array.isArray(prompts) ? prompts.length : undefined

async function* indexed(
  prompts: Prompts,
): AsyncGenerator<readonly [number, string], undefined, undefined> {
  let index = 0
  for await (const prompt of prompts) yield [index++, prompt]
}

/** Longest first: what is begun last then keeps the whole batch waiting for as short as can be. */
async function costliestFirst(prompts: Prompts, estimate: (prompt: string) => number) {
  const all: (readonly [number, string])[] = []
  for await (const entry of indexed(prompts)) all.push(entry)
  const costs = new Map(all.map((entry) => [entry, Number(atOnce(estimate(entry[1]))) || 0]))
  all.sort((a, b) => costs.get(b)! - costs.get(a)!)
  return (async function* () {
    yield* all
  })() as AsyncGenerator<readonly [number, string], undefined, undefined>
}
