import { cancelOf, now, runHook } from '../../core/index.js'
import type { TextOptions, TextResult } from '../types.js'
import type { Checkpoint } from './checkpoint.js'

/** The outcome of one prompt; `index` is the position of the prompt, from 0. */
export type BatchOutcome =
  | ({ readonly index: number; readonly ok: true } & TextResult)
  | { readonly index: number; readonly ok: false; readonly error: unknown }

/** Progress of a batch. */
export interface BatchProgress {
  /** Outcomes so far, including failures. */
  readonly done: number
  /** Failures so far. */
  readonly failed: number
  /** Prompts in progress. */
  readonly running: number
  /** Number of prompts; `undefined` unless they were given as an array. */
  readonly total: number | undefined
  /** Time since the start of the batch. */
  readonly elapsedMs: number
}

/** A prompt and its position among the prompts. */
export type Entry = readonly [index: number, prompt: string]

interface WindowOptions {
  readonly concurrency: number
  readonly order?: 'finished' | 'input' | undefined
  readonly onProgress?: ((progress: BatchProgress) => void) | undefined
  readonly signal?: AbortSignal | undefined
  /** Maximum number of outcomes waiting to be read; no more prompts start while it is reached. */
  readonly ahead: number
  readonly total: number | undefined
  readonly checkpoint: Checkpoint | undefined
  generate(prompt: string, options: Pick<TextOptions, 'signal'>): Promise<TextResult>
}

/** Runs the prompts in a sliding window: as soon as one finishes, the next one starts. */
export class Window {
  readonly #source: AsyncGenerator<Entry, undefined, undefined>
  readonly #options: WindowOptions
  readonly #leaving = new AbortController()
  readonly #startedAt = now()
  readonly #outcomes = new Map<number, BatchOutcome>()
  #isPulling = false
  #isExhausted = false
  #isLeft = false
  #running = 0
  #done = 0
  #failed = 0
  #yielded = 0
  #broken: { error: unknown } | undefined
  #wake = (): void => {}

  constructor(source: AsyncGenerator<Entry, undefined, undefined>, options: WindowOptions) {
    this.#source = source
    this.#options = options
  }

  async *outcomes(): AsyncGenerator<BatchOutcome, undefined, undefined> {
    const { signal } = this.#options
    // Many batches may share one long-lived signal; `cancelOf` adds only one listener to it.
    const unlisten = signal && cancelOf(signal).onAbort(() => this.#abort(signal.reason))
    try {
      this.#fill()
      for (;;) {
        signal?.throwIfAborted()
        const ready = this.#takeReady()
        if (ready !== undefined) {
          this.#fill()
          yield ready
        } else if (this.#isExhausted && this.#running === 0) break
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
      }
      if (this.#broken !== undefined) throw this.#broken.error
    } finally {
      unlisten?.()
      await this.#leave()
    }
  }

  #takeReady(): BatchOutcome | undefined {
    const ready =
      this.#options.order === 'input'
        ? this.#outcomes.get(this.#yielded)
        : this.#outcomes.values().next().value
    if (ready === undefined) return undefined
    this.#outcomes.delete(ready.index)
    this.#yielded++
    return ready
  }

  #fill(): void {
    const { concurrency, ahead } = this.#options
    const isFull = this.#running >= concurrency || this.#outcomes.size >= ahead
    if (this.#isPulling || this.#isExhausted || isFull) return
    this.#isPulling = true
    this.#source.next().then(
      (next) => {
        this.#isPulling = false
        if (this.#isExhausted) return
        if (next.done) this.#isExhausted = true
        else void this.#run(...next.value)
        this.#fill()
        this.#wake()
      },
      (error) => {
        this.#isExhausted = true
        this.#broken = { error }
        this.#wake()
      },
    )
  }

  async #run(index: number, prompt: string): Promise<void> {
    this.#running++
    const outcome = await this.#outcomeOf(index, prompt)
    this.#running--
    if (this.#isLeft) return
    this.#done++
    if (!outcome.ok) this.#failed++
    this.#outcomes.set(index, outcome)
    this.#reportProgress()
    this.#fill()
    this.#wake()
  }

  async #outcomeOf(index: number, prompt: string): Promise<BatchOutcome> {
    const { checkpoint, generate } = this.#options
    const kept = checkpoint?.get(index, prompt)
    if (kept !== undefined) return { ...kept, index, ok: true }
    try {
      const result = await generate(prompt, { signal: this.#leaving.signal })
      await checkpoint?.add(index, prompt, result)
      return { index, ok: true, ...result }
    } catch (error) {
      return { index, ok: false, error }
    }
  }

  #reportProgress(): void {
    const { onProgress, total } = this.#options
    if (onProgress === undefined) return
    const progress = {
      done: this.#done,
      failed: this.#failed,
      running: this.#running,
      total,
      elapsedMs: now() - this.#startedAt,
    }
    runHook('text.batch: onProgress()', () => onProgress(progress))
  }

  #abort(reason: unknown): void {
    this.#leaving.abort(reason)
    this.#wake()
  }

  async #leave(): Promise<void> {
    this.#isExhausted = true
    this.#isLeft = true
    this.#leaving.abort(
      new DOMException('Aborted: the loop over the batch has ended.', 'AbortError'),
    )
    runHook("text.batch: the prompts' return()", () => this.#source.return(undefined))
    await this.#options.checkpoint?.close()
  }
}
