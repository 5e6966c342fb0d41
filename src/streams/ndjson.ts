import { check, hookFailed, NOTHING, type Nothing, rules, View } from '../core/index.js'
import { toErrorFields } from './problem.js'
import { isAbort, open, signalRule } from './source.js'

/** Options of `toNdjson()`. */
export interface NdjsonOptions {
  /**
   * Returns the content of the last line after a failure of the stream; `value` is the default.
   * Return `undefined` for no line. Log the failure here.
   * @default `{error: {code, message, requestId}}`, with a message that is safe to show
   */
  error?: ((error: unknown, value: object) => unknown) | undefined
  /** Your own id of the request, for the default error line. @default none */
  requestId?: string | undefined
  /**
   * The signal that was passed to the source. Errors after its abort are not written.
   * @default none
   */
  signal?: AbortSignal | undefined
}

const SUBJECT = 'toNdjson'

/**
 * Converts a stream to lines of JSON (`content-type: application/x-ndjson`), one string per chunk.
 *
 * When the source fails, the last line is `{"error":{"code","message"}}` and the lines end
 * normally. When the caller aborts, they just end. When the reader stops, the source is closed
 * immediately.
 *
 * @throws {ConfigError} (`CONFIG`) for an invalid option, or a source that is not a stream
 * @example for await (const line of toNdjson(blossom.text.batch(prompts))) process.stdout.write(line)
 * @see https://github.com/ndjson/ndjson-spec
 */
export function toNdjson<Chunk>(
  source: AsyncIterable<Chunk>,
  options?: NdjsonOptions,
): AsyncGenerator<string, undefined, undefined> {
  return new Lines(source, options)
}

class Lines<Chunk> extends View<Chunk, string> {
  readonly #options: NdjsonOptions

  constructor(source: AsyncIterable<Chunk>, options: NdjsonOptions | undefined) {
    const known = check(SUBJECT, options, {
      error: rules.callback<(error: unknown, value: object) => unknown>(),
      requestId: rules.text(undefined),
      signal: signalRule,
    })
    super(open(SUBJECT, source))
    this.#options = known
  }

  protected map(chunk: Chunk): string {
    return line(chunk)
  }

  protected override failed(error: unknown): string | Nothing {
    const { error: shape, requestId, signal } = this.#options
    if (isAbort(error, signal)) return NOTHING
    const usual = { error: toErrorFields(error, requestId) }
    if (shape === undefined) return line(usual)
    try {
      const value = shape(error, usual)
      return value === undefined ? NOTHING : line(value)
    } catch (thrown) {
      hookFailed('toNdjson: error()', thrown)
      return line({ error: toErrorFields(error, requestId) })
    }
  }
}

// JSON escapes line breaks, so each chunk is exactly one line.
function line(value: unknown): string {
  return `${JSON.stringify(value) ?? 'null'}\n`
}
