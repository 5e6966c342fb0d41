import { check, isDate, rules } from '../../core/index.js'
import type { ErrorShape } from './errors.js'
import { FLAG, isObject, isText, TEXT } from './fields.js'
import { ODD_SHAPES, type OddShape } from './odd-shapes.js'
import { count, wait } from './options.js'
import type { LocalBlossomRequest } from './record.js'

/**
 * Something that goes wrong with the next request. Fields combine where that makes sense: a
 * `status` with `delayMs` and `retryAfter`, an `oneChunk` stream with `splitBytes`.
 *
 * A fault that stands in for the answer (`raw`, `resetBeforeHeaders`, `hang`, `redirect`, `status`,
 * `body`, `json` and the `retry…` fields) comes as from the edge in front of the gateway: no key is
 * checked and no place or rate is used. All others spoil a real answer, which passes every rule
 * first. A request with a fault is never answered from the cache, nor kept there.
 *
 * `…AfterChunks` counts the content chunks of a stream: 0 is after the role-only chunk, -1 before
 * it; a number beyond the end means before the finish reason. For other bodies it counts pieces of
 * 64 bytes (of `splitBytes`, if given).
 */
export interface Fault {
  /** How many requests it meets; Infinity until `reset()`. @default 1 */
  readonly times?: number | undefined
  /** Only requests whose path begins so. @default any */
  readonly path?: string | undefined
  /** Only requests for which this is true; it runs when the body has arrived. @default any */
  readonly match?: ((request: LocalBlossomRequest) => boolean) | undefined

  /** Milliseconds to wait before the head, or before `resetBeforeHeaders` and `raw`. @default 0 */
  readonly delayMs?: number | undefined
  /** Takes the request and never answers. */
  readonly hang?: boolean | undefined
  /** Resets the connection instead of answering. */
  readonly resetBeforeHeaders?: boolean | undefined
  /** Bytes for the socket instead of an HTTP answer; then the connection is closed. */
  readonly raw?: string | undefined

  /**
   * Status instead of an answer.
   * @default 302 with `redirect`, 429 with a `retry…` field, 500 with a named `body`, 200 with
   * other text or `json`
   */
  readonly status?: number | undefined
  /**
   * Shape of the error body, or the very text to send.
   * @default 'blossom', and 'html' from 520 to 524
   */
  readonly body?: ErrorShape | (string & {}) | undefined
  /** `Retry-After`, in any form: a number or text is sent as it is, a Date as an HTTP date. */
  readonly retryAfter?: string | number | Date | undefined
  /** `retry-after-ms`, sent as it is. */
  readonly retryAfterMs?: string | number | undefined
  /** `retryAfterSeconds` in a JSON error body; may be fractional. */
  readonly retryAfterSeconds?: number | undefined
  /** `Location` of a redirect. */
  readonly redirect?: string | undefined
  /**
   * A 200 (or `status`) whose body is no proper answer: broken JSON, half of one, a web page,
   * nothing, or JSON of another shape.
   */
  readonly json?: 'malformed' | 'truncated' | 'html' | 'empty' | 'shape' | undefined

  /** Further headers of the answer. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** `Content-Type` instead of the right one; an empty string sends none. */
  readonly contentType?: string | undefined
  /**
   * Labels the body as gzip: plain bytes (true), half of the compressed body, or a small body that
   * grows to `bigBody` bytes (64 MiB if not given).
   */
  readonly gzip?: boolean | 'truncated' | 'bomb' | undefined

  /** Breaks the connection off after n chunks. */
  readonly cutAfterChunks?: number | undefined
  /**
   * How connections are broken off: by a plain end or by a reset.
   * @default 'fin', and 'rst' for `resetBeforeHeaders`
   */
  readonly cutWith?: 'fin' | 'rst' | undefined
  /** Ends the body in due form after n chunks, without finish reason and `[DONE]`. */
  readonly endAfterChunks?: number | undefined
  /** Falls silent after n chunks, the connection open. */
  readonly stallAfterChunks?: number | undefined
  /** While a stream stalls, sends a comment every so many milliseconds. @default none */
  readonly heartbeatMs?: number | undefined
  /**
   * Sends an error object inside the 200 stream after n chunks, and ends; any other answer becomes
   * that object.
   */
  readonly errorAfterChunks?: number | undefined
  /** Sends bytes that are no valid event after n chunks, and goes on. */
  readonly garbageAfterChunks?: number | undefined
  /**
   * What `garbageAfterChunks` sends: broken JSON, or good JSON around bytes that are not UTF-8.
   * @default 'json'
   */
  readonly garbage?: 'json' | 'utf8' | undefined
  /** A stream's finish reason comes, its `[DONE]` does not. */
  readonly noDone?: boolean | undefined
  /** A stream stays open after `[DONE]`. */
  readonly openAfterDone?: boolean | undefined
  /** Chunks with the text `GHOST` sent after `[DONE]`. @default 0 */
  readonly ghostChunks?: number | undefined
  /** The whole text of a stream in one chunk. */
  readonly oneChunk?: boolean | undefined
  /**
   * Writes the body n bytes at a time, each its own write; `chunkDelayMs` then lies between these.
   */
  readonly splitBytes?: number | undefined
  /**
   * Overrides the option of the same name; for other bodies it is the pause between the pieces of
   * `splitBytes`.
   */
  readonly chunkDelayMs?: number | undefined
  /**
   * The body is at least so many bytes: spaces follow an answer, more and more chunks a stream's
   * last; may be Infinity.
   */
  readonly bigBody?: number | undefined
  /**
   * A stream's first content chunk is one line of at least so many bytes; Infinity never ends it.
   */
  readonly bigLine?: number | undefined

  /** A shape that real upstreams send, of the names in `ODD_SHAPES`. */
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
 * Refuses a fault that could not happen as described.
 *
 * @throws {ConfigError} naming the field.
 * @internal
 */
export function checkFault(fault: unknown): asserts fault is Fault {
  check('fault', fault ?? null, FAULT)
}

/** A plain array that checks what is pushed onto it, where the mistake is made. @internal */
export function faultQueue(): Fault[] {
  const queue: Fault[] = []
  const push = (...faults: readonly Fault[]) => {
    for (const fault of faults) checkFault(fault)
    return Array.prototype.push.apply(queue, [...faults])
  }
  Object.defineProperty(queue, 'push', { value: push, enumerable: false })
  return queue
}

/** Takes the first fault meant for the request, and counts it down. @internal */
export function takeFault(queue: Fault[], request: LocalBlossomRequest): Fault | undefined {
  const index = queue.findIndex(
    ({ path, match }) =>
      (path === undefined || request.path.startsWith(path)) && (match?.(request) ?? true),
  )
  const fault = queue[index]
  if (fault === undefined) return undefined
  const left = (fault.times ?? 1) - 1
  // A new object: the one that was queued belongs to the caller, who may queue it again.
  if (left >= 1) queue[index] = { ...fault, times: left }
  else queue.splice(index, 1)
  return fault
}
