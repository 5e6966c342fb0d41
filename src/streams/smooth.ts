import { check, NOTHING, type Nothing, rules, Timer, View } from '../core/index.js'
import { open } from './source.js'

/** Options of `smooth()`. */
export interface SmoothOptions {
  /**
   * A text longer than this is cut into pieces of at most this length, in UTF-16 code units. At
   * least 1.
   * @default 24
   */
  maxChars?: number | undefined
  /** Pause before each further piece of one chunk, in milliseconds; 0: none. @default 0 */
  delayMs?: number | undefined
}

const SUBJECT = 'smooth'

/**
 * Cuts over-large text chunks into small ones, after words where there are any, so that text which
 * arrives in lumps reads evenly.
 *
 * Strings and chunks `{text}` are cut: each piece is a string, or a copy of its chunk with its part
 * of the text, and the pieces together are the text. A character as readers see it (a grapheme
 * cluster) stays whole, even one longer than `maxChars`. Everything else passes untouched. Whoever
 * stops reading returns the source at once; nothing is read ahead.
 *
 * @throws {ConfigError} code `CONFIG`, for a wrong option or a source that is no stream
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
  /** A chunk's other members; `undefined` for a string. */
  readonly rest: object | undefined
  readonly pieces: Iterator<string, undefined>
  next: string
}

class Smoothed<Chunk> extends View<Chunk, Chunk> {
  readonly #maxChars: number
  readonly #delayMs: number
  /** The chunk being cut, and the pieces of its text still to come. */
  #cutting: Cutting | undefined
  #pause: Timer | undefined
  /** The pause before the next piece is over. */
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
    // Known one piece early, so that the end of a text is not taken for one more piece to pause
    // for.
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

/**
 * The pieces of a text, found as they are asked for. A generator: it runs once per piece of a lump,
 * not per chunk.
 */
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
