import { type Blossom, type BlossomLayer, createBlossom } from '../../src/client/index.js'
import { isStackError } from '../../src/core/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { answerTo } from './expected.js'
import { type Counts, count } from './report.js'

const layers = (): BlossomLayer[] => [
  cache({ ttlMs: 1_000, staleMs: 1_000, maxEntries: 200 }),
  dedupe(),
  timeout({ ms: 5_000, idleMs: 400 }),
  retry({ minDelayMs: 5, maxDelayMs: 40 }),
  breaker(),
  batcher(),
  queue({ concurrency: 24, maxWaiting: 1_000 }),
  timeout({ name: 'attempt', ms: 2_000 }),
  pool({ connections: 24 }),
]

export const client = (baseURL: string): Blossom =>
  createBlossom({ baseURL, apiKey: 'sk_soak' }).use(...layers())

const ABORTED = new Error('the caller has left')
const EXAMPLES = 5

/** Callers of all kinds, each of whom does one thing after the other until `over` says so. */
export class Load {
  readonly counts: Counts
  /** Never aborted: what is left on it leaks. */
  readonly lasting = new AbortController()
  readonly #blossom: Blossom
  readonly #random: () => number
  /** Bytes and vectors that were seen first for a prompt. */
  readonly #seen = new Map<string, string>()
  #prompts = 0

  constructor(blossom: Blossom, counts: Counts, random: () => number) {
    this.#blossom = blossom
    this.counts = counts
    this.#random = random
  }

  async caller(over: () => boolean): Promise<void> {
    const kinds = [
      () => this.#generate(),
      () => this.#generate(),
      () => this.#stream(Number.POSITIVE_INFINITY),
      () => this.#stream(Number.POSITIVE_INFINITY),
      () => this.#stream(1 + this.#upTo(4)),
      () => this.#abort(),
      () => this.#batch(),
      () => this.#bytes(),
      () => this.#vector(),
      () => this.#together(),
    ]
    while (!over()) await kinds[this.#upTo(kinds.length)]?.()
  }

  #upTo(n: number): number {
    return Math.floor(this.#random() * n)
  }

  /** One in three is asked again and again, for the cache. */
  #prompt(): string {
    return this.#upTo(3) === 0 ? `often asked ${this.#upTo(60)}` : `asked once ${++this.#prompts}`
  }

  async #counted(work: () => Promise<string>): Promise<void> {
    this.counts.calls++
    this.counts.open++
    try {
      count(this.counts, await work())
    } catch (error) {
      const code = error === ABORTED ? 'aborted' : isStackError(error) ? error.code : String(error)
      count(this.counts, code)
    }
    this.counts.open--
  }

  #judge(prompt: string, text: string, isWhole: boolean): void {
    const answer = answerTo(prompt)
    if (isWhole ? text === answer : answer.startsWith(text)) return
    if (answer.startsWith(text)) this.counts.lost++
    else if (text.startsWith(answer)) this.counts.doubled++
    else this.counts.mismatched++
    if (this.counts.examples.length < EXAMPLES)
      this.counts.examples.push(`${JSON.stringify(prompt)} was answered ${JSON.stringify(text)}`)
  }

  #generate(prompt = this.#prompt()): Promise<void> {
    return this.#counted(async () => {
      const { text } = await this.#blossom.text.generate(prompt, { signal: this.lasting.signal })
      this.#judge(prompt, text, true)
      return 'ok'
    })
  }

  #stream(take: number, prompt = this.#prompt(), signal = this.lasting.signal): Promise<void> {
    return this.#counted(async () => {
      let text = ''
      let pieces = 0
      try {
        for await (const piece of await this.#blossom.text.stream(prompt, { signal })) {
          text += piece.text
          if (++pieces === take) break
        }
      } catch (error) {
        this.#judge(prompt, text, false)
        throw error
      }
      this.#judge(prompt, text, pieces !== take)
      return pieces === take ? 'left' : 'ok'
    })
  }

  async #abort(): Promise<void> {
    const caller = new AbortController()
    const timer = setTimeout(() => caller.abort(ABORTED), this.#upTo(12))
    const prompt = this.#prompt()
    if (this.#upTo(2) === 0) await this.#stream(Number.POSITIVE_INFINITY, prompt, caller.signal)
    else {
      await this.#counted(async () => {
        const { text } = await this.#blossom.text.generate(prompt, { signal: caller.signal })
        this.#judge(prompt, text, true)
        return 'ok'
      })
    }
    clearTimeout(timer)
  }

  async #batch(): Promise<void> {
    const prompts = Array.from({ length: 6 }, () => this.#prompt())
    const answered = new Set<number>()
    for await (const outcome of this.#blossom.text.batch(prompts, {
      concurrency: 3,
      signal: this.lasting.signal,
    })) {
      const { index } = outcome
      this.counts.calls++
      if (answered.has(index)) this.counts.doubled++
      answered.add(index)
      if (outcome.ok) this.#judge(prompts[index] as string, outcome.text, true)
      count(
        this.counts,
        outcome.ok
          ? 'ok'
          : isStackError(outcome.error)
            ? outcome.error.code
            : String(outcome.error),
      )
    }
    this.counts.lost += prompts.length - answered.size
  }

  /** Equal questions have equal answers. */
  #same(prompt: string, answer: string): void {
    const first = this.#seen.get(prompt)
    if (first === undefined) this.#seen.set(prompt, answer)
    else if (first !== answer) {
      this.counts.mismatched++
      if (this.counts.examples.length < EXAMPLES)
        this.counts.examples.push(`${prompt}: ${first.slice(0, 150)} then ${answer.slice(0, 150)}`)
    }
  }

  #bytes(): Promise<void> {
    const prompt = `a picture ${this.#upTo(30)}`
    return this.#counted(async () => {
      const { bytes } = await this.#blossom.image.generate(prompt, {
        width: 16,
        height: 16,
        signal: this.lasting.signal,
      })
      this.#same(prompt, Buffer.from(bytes).toString('base64'))
      return 'ok'
    })
  }

  #vector(): Promise<void> {
    const prompt = `a sentence ${this.#upTo(300)}`
    return this.#counted(async () => {
      const { embeddings } = await this.#blossom.embeddings.create(prompt, {
        dimensions: 8,
        signal: this.lasting.signal,
      })
      if (embeddings.length !== 1) this.counts.mismatched++
      this.#same(prompt, JSON.stringify(embeddings[0]))
      return 'ok'
    })
  }

  /** The same question several times at once: they share one answer. */
  async #together(): Promise<void> {
    const prompt = `asked together ${++this.#prompts}`
    await Promise.all([
      this.#generate(prompt),
      this.#generate(prompt),
      this.#stream(Number.POSITIVE_INFINITY, prompt),
      this.#stream(2, prompt),
      this.#stream(Number.POSITIVE_INFINITY, prompt),
    ])
  }
}
