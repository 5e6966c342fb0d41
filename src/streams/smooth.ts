import { check, NOTHING, type Nothing, rules, Timer, View } from '../core/index.js'
import { open } from './source.js'

/** Options of `smooth()`. */
export interface SmoothOptions {
  /**
   * Maximum length of a piece, in UTF-16 code units; longer texts are cut. At least 1.
   * @default 24
   */
  maxChars?: number | undefined
  /** Pause before each piece of a chunk except the first. Milliseconds; 0 for none. @default 0 */
  delayMs?: number | undefined
}

const SUBJECT = 'smooth'

/**
 * Cuts large text chunks into small ones, between words where possible, so that text arriving in
 * blocks appears smoothly.
 *
 * Strings and objects `{ text }` are cut. Each piece is a string, or a copy of the object with part
 * of the text. A visible character (a grapheme cluster) is never cut, even if it is longer than
 * `maxChars`. All other chunks pass unchanged. When the reader stops, the source is closed
 * immediately; nothing is read ahead.
 *
 * @throws {ConfigError} (`CONFIG`) for an invalid option, or a source that is not a stream
 * @example for await (const { text } of smooth(await blossom.text.stream('Tell me a story'), { delayMs: 15 })) process.stdout.write(text)
 * @see https://unicode.org/reports/tr29/ for grapheme clusters
 */
export function smooth<Chunk>(
  source: AsyncIterable<Chunk>,
  options?: SmoothOptions,
): AsyncGenerator<Chunk, undefined, undefined> {
  return new Smoothed(source, options)
}

interface Cutting {
  /** The chunk's other fields; `undefined` for a string. */
  readonly rest: object | undefined
  readonly pieces: Iterator<string, undefined>
  next: string
}

class Smoothed<Chunk> extends View<Chunk, Chunk> {
  readonly #maxChars: number
  readonly #delayMs: number
  /** The chunk being cut, with the rest of its pieces. */
  #cutting: Cutting | undefined
  #pause: Timer | undefined
  /** Whether the pause before the next piece is over. */
  #isDue = false

  constructor(source: AsyncIterable<Chunk>, options: SmoothOptions | undefined) {
    const { maxChars, delayMs } = check(SUBJECT, options, {
      maxChars: rules.integer(24, { min: 1 }),
      delayMs: rules.duration(0, { min: 0 }),
    })
    super(open(SUBJECT, source))
    this.#maxChars = maxChars
    this.#delayMs = delayMs
  }

  override read(): Chunk | Nothing {
    if (this.#cutting === undefined) return super.read()
    if (this.#delayMs > 0 && !this.#isDue) return NOTHING
    this.#isDue = false
    return this.#piece()
  }

  override ask(): void {
    if (this.#cutting === undefined) return super.ask()
    this.#pause ??= new Timer(this.#delayMs, () => {
      this.#pause = undefined
      this.#isDue = true
      this.notify()
    })
  }

  protected map(chunk: Chunk): Chunk {
    const text = textOf(chunk)
    if (text === undefined || text.length <= this.#maxChars) return chunk
    const pieces = cut(text, this.#maxChars)
    this.#cutting = {
      rest: typeof chunk === 'string' ? undefined : { ...(chunk as object) },
      pieces,
      next: pieces.next().value as string,
    }
    return this.#piece()
  }

  protected override closed(): void {
    this.#pause?.stop()
    this.#cutting = undefined
  }

  #piece(): Chunk {
    const cutting = this.#cutting as Cutting
    const text = cutting.next
    const following = cutting.pieces.next()
    // Fetched one piece early, so that no pause follows the last piece.
    if (following.done) this.#cutting = undefined
    else cutting.next = following.value
    return (cutting.rest === undefined ? text : { ...cutting.rest, text }) as Chunk
  }
}

function textOf(chunk: unknown): string | undefined {
  if (typeof chunk === 'string') return chunk
  const text =
    typeof chunk === 'object' && chunk !== null ? (chunk as { text?: unknown }).text : undefined
  return typeof text === 'string' ? text : undefined
}

let graphemes: Intl.Segmenter | undefined

/** Yields the pieces of a text, computed on demand. */
function* cut(text: string, max: number): Generator<string, undefined> {
  graphemes ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' })
  let start = 0
  /** Where the last white space since `start` ends: the best place to cut. */
  let word = 0
  for (const { segment, index } of graphemes.segment(text)) {
    const end = index + segment.length
    while (end - start > max && index > start) {
      const at = word > start ? word : index
      yield text.slice(start, at)
      start = at
    }
    if (/^\s+$/.test(segment)) word = end
  }
  if (start < text.length) yield text.slice(start)
  return undefined
}
