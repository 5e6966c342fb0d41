import { check, isDate, rules } from '../../core/index.js'
import type { ErrorShape } from './errors.js'
import { FLAG, isObject, isText, TEXT } from './fields.js'
import { ODD_SHAPES, type OddShape } from './odd-shapes.js'
import { count, wait } from './options.js'
import type { LocalBlossomRequest } from './record.js'

/**
 * Something that goes wrong with the next request. Fields combine where that makes sense, for
 * example `status` with `delayMs` and `retryAfter`, or `oneChunk` with `splitBytes`.
 *
 * A fault that replaces the answer (`raw`, `resetBeforeHeaders`, `hang`, `redirect`, `status`,
 * `body`, `json` and the `retry…` fields) behaves as if it came from the proxy in front of the
 * gateway: no API key is checked, and no concurrency or rate is used. All other faults modify a
 * real answer, which is subject to all rules. A request with a fault is never answered from the
 * cache or stored in it.
 *
 * `…AfterChunks` counts the content chunks of a stream: 0 is after the chunk with the role, -1
 * before it. A number beyond the end means before the finish reason. For other bodies it counts
 * pieces of 64 bytes, or of `splitBytes`.
 */
export interface Fault {
  /** Number of requests it applies to; Infinity until `reset()`. @default 1 */
  readonly times?: number | undefined
  /** Applies only to requests whose path starts with this. @default any path */
  readonly path?: string | undefined
  /**
   * Applies only to requests for which this returns true; called once the body has arrived.
   * @default any request
   */
  readonly match?: ((request: LocalBlossomRequest) => boolean) | undefined

  /** Delay before the head, or before `resetBeforeHeaders` and `raw`. Milliseconds. @default 0 */
  readonly delayMs?: number | undefined
  /** Accepts the request and never answers. */
  readonly hang?: boolean | undefined
  /** Resets the connection instead of answering. */
  readonly resetBeforeHeaders?: boolean | undefined
  /** Sends these bytes to the socket instead of an HTTP answer, then closes the connection. */
  readonly raw?: string | undefined

  /**
   * Status to send instead of an answer.
   * @default 302 with `redirect`, 429 with a `retry…` field, 500 with a named `body`, 200 with
   * other text or `json`
   */
  readonly status?: number | undefined
  /**
   * Format of the error body, or the exact text to send.
   * @default 'blossom', and 'html' from 520 to 524
   */
  readonly body?: ErrorShape | (string & {}) | undefined
  /** The `Retry-After` header: a number or string is sent as it is, a Date as an HTTP date. */
  readonly retryAfter?: string | number | Date | undefined
  /** The `retry-after-ms` header, sent as it is. */
  readonly retryAfterMs?: string | number | undefined
  /** `retryAfterSeconds` in a JSON error body; may be fractional. */
  readonly retryAfterSeconds?: number | undefined
  /** The `Location` header of a redirect. */
  readonly redirect?: string | undefined
  /**
   * Sends a 200 (or `status`) with an invalid body: broken JSON, half of a JSON text, an HTML page,
   * nothing, or JSON of another shape.
   */
  readonly json?: 'malformed' | 'truncated' | 'html' | 'empty' | 'shape' | undefined

  /** Further headers of the answer. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** `Content-Type` to send instead of the correct one; an empty string sends none. */
  readonly contentType?: string | undefined
  /**
   * Labels the body as gzip and sends plain bytes (true), half of the compressed body, or a small
   * body that expands to `bigBody` bytes (64 MiB by default).
   */
  readonly gzip?: boolean | 'truncated' | 'bomb' | undefined

  /** Breaks the connection after n chunks. */
  readonly cutAfterChunks?: number | undefined
  /**
   * How to break connections: with a normal end or with a reset.
   * @default 'fin', and 'rst' for `resetBeforeHeaders`
   */
  readonly cutWith?: 'fin' | 'rst' | undefined
  /** Ends the body normally after n chunks, without finish reason and `[DONE]`. */
  readonly endAfterChunks?: number | undefined
  /** Stops sending after n chunks and keeps the connection open. */
  readonly stallAfterChunks?: number | undefined
  /** Sends a comment at this interval while a stream stalls. Milliseconds. @default none */
  readonly heartbeatMs?: number | undefined
  /**
   * Sends an error object within the 200 stream after n chunks, then ends it. Any other answer is
   * replaced by that object.
   */
  readonly errorAfterChunks?: number | undefined
  /** Sends bytes that are not a valid event after n chunks, then continues. */
  readonly garbageAfterChunks?: number | undefined
  /**
   * What `garbageAfterChunks` sends: broken JSON, or valid JSON around bytes that are not UTF-8.
   * @default 'json'
   */
  readonly garbage?: 'json' | 'utf8' | undefined
  /** Sends the finish reason of a stream, but no `[DONE]`. */
  readonly noDone?: boolean | undefined
  /** Keeps a stream open after `[DONE]`. */
  readonly openAfterDone?: boolean | undefined
  /** Number of chunks with the text `GHOST` to send after `[DONE]`. @default 0 */
  readonly ghostChunks?: number | undefined
  /** Sends the whole text of a stream in one chunk. */
  readonly oneChunk?: boolean | undefined
  /** Writes the body n bytes at a time. `chunkDelayMs` then applies between these writes. */
  readonly splitBytes?: number | undefined
  /**
   * Overrides the server's option of the same name. For other bodies: the pause between the pieces
   * of `splitBytes`. Milliseconds.
   */
  readonly chunkDelayMs?: number | undefined
  /**
   * Makes the body at least this many bytes long: with spaces after an answer, with more chunks at
   * the end of a stream. May be Infinity.
   */
  readonly bigBody?: number | undefined
  /**
   * Makes a stream's first content chunk one line of at least this many bytes; with Infinity the
   * line never ends.
   */
  readonly bigLine?: number | undefined

  /** Sends the answer in an unusual form that real upstreams send, one of `ODD_SHAPES`. */
  readonly odd?: OddShape | undefined
}

const many = count(undefined)
const delay = wait(undefined)
const chunks = rules.integer(undefined, { min: -1 })
const spelled = rules.custom<string | number, undefined>(
  'a string or a number',
  undefined,
  (value) => isText(value) || typeof value === 'number',
)
const date = rules.custom<Date, undefined>(
  'a valid Date',
  undefined,
  (value) => isDate(value) && !Number.isNaN(value.getTime()),
)
const headers = rules.custom<Readonly<Record<string, string>>, undefined>(
  'an object of strings',
  undefined,
  (value) => isObject(value) && Object.values(value).every(isText),
)

const FAULT: Readonly<Record<keyof Fault, rules.Rule<unknown>>> = {
  times: many,
  path: TEXT,
  match: rules.callback(),
  delayMs: delay,
  hang: FLAG,
  resetBeforeHeaders: FLAG,
  raw: TEXT,
  status: rules.integer(undefined, { min: 200, max: 599 }),
  body: TEXT,
  retryAfter: rules.either(spelled, date),
  retryAfterMs: spelled,
  retryAfterSeconds: rules.number(undefined),
  redirect: TEXT,
  json: rules.oneOf(['malformed', 'truncated', 'html', 'empty', 'shape'], undefined),
  headers,
  contentType: TEXT,
  gzip: rules.either(FLAG, rules.oneOf(['truncated', 'bomb'], undefined)),
  cutAfterChunks: chunks,
  cutWith: rules.oneOf(['fin', 'rst'], undefined),
  endAfterChunks: chunks,
  stallAfterChunks: chunks,
  heartbeatMs: wait(undefined, 1),
  errorAfterChunks: chunks,
  garbageAfterChunks: chunks,
  garbage: rules.oneOf(['json', 'utf8'], undefined),
  noDone: FLAG,
  openAfterDone: FLAG,
  ghostChunks: rules.integer(undefined, { min: 0 }),
  oneChunk: FLAG,
  splitBytes: rules.integer(undefined, { min: 1 }),
  chunkDelayMs: delay,
  bigBody: many,
  bigLine: many,
  odd: rules.oneOf(ODD_SHAPES, undefined),
}

/**
 * Rejects a fault that is not valid.
 *
 * @throws {ConfigError} (`CONFIG`) that names the field
 * @internal
 */
export function checkFault(fault: unknown): asserts fault is Fault {
  check('fault', fault ?? null, FAULT)
}

/** An array that validates faults when they are pushed. @internal */
export function faultQueue(): Fault[] {
  const queue: Fault[] = []
  const push = (...faults: readonly Fault[]) => {
    for (const fault of faults) checkFault(fault)
    return Array.prototype.push.apply(queue, [...faults])
  }
  Object.defineProperty(queue, 'push', { value: push, enumerable: false })
  return queue
}

/** Takes the first fault that applies to the request, and counts it down. @internal */
export function takeFault(queue: Fault[], request: LocalBlossomRequest): Fault | undefined {
  const index = queue.findIndex(
    ({ path, match }) =>
      (path === undefined || request.path.startsWith(path)) && (match?.(request) ?? true),
  )
  const fault = queue[index]
  if (fault === undefined) return undefined
  const left = (fault.times ?? 1) - 1
  // A copy, because the queued object belongs to the caller, who may queue it again.
  if (left >= 1) queue[index] = { ...fault, times: left }
  else queue.splice(index, 1)
  return fault
}
