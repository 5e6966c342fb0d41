import { check, hookFailed, NOTHING, type Nothing, rules, View } from '../core/index.js'
import { toErrorFields } from './problem.js'
import { isAbort, open, signalRule } from './source.js'

/** Options of `toNdjson()`. */
export interface NdjsonOptions {
  /**
   * What the last line of a stream that failed holds; `value` is the default. `undefined` writes
   * none. The place to log the failure.
   * @default `{error: {code, message, requestId}}` with words that are safe to show
   */
  error?: ((error: unknown, value: object) => unknown) | undefined
  /** Your own id of the request, for the default error line. @default none */
  requestId?: string | undefined
  /**
   * The signal the source was called with: what the source fails with after its abort is not
   * reported.
   * @default none
   */
  signal?: AbortSignal | undefined
}

const SUBJECT = 'toNdjson'

/**
 * Turns a stream into lines of JSON, one string for each chunk, for `content-type:
 * application/x-ndjson`.
 *
 * A failure of the source becomes a last line `{"error":{"code","message"}}` and the lines then end
 * as usual; a caller's abort just ends them. Whoever stops reading returns the source at once.
 *
 * @throws {ConfigError} code `CONFIG`, for a wrong option or a source that is no stream
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
      hookFailed('error()', thrown)
      return line({ error: toErrorFields(error, requestId) })
    }
  }
}

// JSON has no raw line breaks, so a line is a chunk whatever its text holds.
function line(value: unknown): string {
  return `${JSON.stringify(value) ?? 'null'}\n`
}
