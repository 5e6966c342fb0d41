import { atOnce, rules, ValidationError } from '../../core/index.js'
import { entriesOf, readArguments } from '../arguments.js'
import type { TextOptions, TextResult } from '../types.js'
import { Checkpoint } from './checkpoint.js'
import { type BatchOutcome, type BatchProgress, type Entry, Window } from './window.js'

export type { BatchOutcome, BatchProgress } from './window.js'

/** Options of `text.batch()`. The options of `text.generate()` apply to each prompt. */
export interface BatchOptions extends Omit<TextOptions, 'meta' | 'deadline'> {
  /** Maximum number of prompts in progress at once, 1 to 10,000. @default 5 */
  concurrency?: number | undefined
  /** Order of the outcomes: as they finish, or in the order of the prompts. @default 'finished' */
  order?: 'finished' | 'input' | undefined
  /**
   * Called after each outcome. If it throws, a warning is emitted and the batch continues.
   * @default none
   */
  onProgress?: ((progress: BatchProgress) => void) | undefined
  /**
   * Returns the rough cost of a prompt, in any unit; the most expensive prompts start first. With
   * it, all prompts are read into memory before the first one starts.
   * @default none: prompts start in the given order
   */
  estimate?: ((prompt: string) => number) | undefined
  /**
   * Path of a file that stores each success as a line of JSON. Prompts whose result is already in
   * the file are not sent again.
   * @default none
   */
  checkpoint?: string | undefined
}

/** Maximum number of outcomes waiting to be read; no more prompts start while it is reached. */
const AHEAD = 1_000

type Generate = (prompt: string, options: TextOptions) => Promise<TextResult>
type Prompts = Iterable<string> | AsyncIterable<string>

/**
 * Generates a text for each prompt. Leaving the loop, or aborting the signal, aborts the calls in
 * progress.
 * @internal
 */
export async function* runBatch(
  generate: Generate,
  prompts: Prompts,
  options?: BatchOptions,
): AsyncGenerator<BatchOutcome, undefined, undefined> {
  const { estimate, checkpoint: file, rest, ...settings } = readBatchOptions(prompts, options)
  settings.signal?.throwIfAborted()
  const source = estimate === undefined ? indexed(prompts) : await costliestFirst(prompts, estimate)
  const window = new Window(source, {
    ...settings,
    // When sorted by cost, the first prompt may start last, so a limit could block `order: 'input'`
    // forever. All prompts are in memory anyway.
    ahead: estimate === undefined ? AHEAD : Number.POSITIVE_INFINITY,
    total: Array.isArray(prompts) ? prompts.length : undefined,
    checkpoint: file === undefined ? undefined : await Checkpoint.open(file),
    generate: (prompt, own) => generate(prompt, { ...rest, ...own }),
  })
  yield* window.outcomes()
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
      'text.batch: the prompts must be an array or another iterable of strings.',
    )
  }
  if (call.signal !== undefined && typeof call.signal?.throwIfAborted !== 'function')
    throw new ValidationError('text.batch: option "signal" must be an AbortSignal.')
  // Each call checks its remaining options itself, so an invalid one fails every prompt.
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

async function* indexed(prompts: Prompts): AsyncGenerator<Entry, undefined, undefined> {
  let index = 0
  for await (const prompt of prompts) yield [index++, prompt]
}

/** Most expensive first, so that the batch does not end by waiting for one long prompt. */
async function costliestFirst(prompts: Prompts, estimate: (prompt: string) => number) {
  const all: Entry[] = []
  for await (const entry of indexed(prompts)) all.push(entry)
  const costs = new Map(all.map((entry) => [entry, Number(atOnce(estimate(entry[1]))) || 0]))
  all.sort((a, b) => costs.get(b)! - costs.get(a)!)
  return (async function* () {
    yield* all
  })() as AsyncGenerator<Entry, undefined, undefined>
}
