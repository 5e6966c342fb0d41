import type { ErrorShape } from './errors.js'
import { isCount, isDelay, LONGEST_MS } from './options.js'
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
   * Says gzip: of plain bytes (true), of half the compressed body, or of a small body that grows to
   * `bigBody` bytes (64 MiB if not given).
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
}

type Rule = readonly [expected: string, fits: (value: unknown) => boolean]

const flag: Rule = ['true or false', (value) => typeof value === 'boolean']
const text: Rule = ['a string', (value) => typeof value === 'string']
const delay: Rule = [`a number of milliseconds from 0 to ${LONGEST_MS}`, isDelay]
const count: Rule = ['an integer of at least 1, or Infinity', isCount]
const whole: Rule = ['an integer of at least 1', (value) => isCount(value) && value !== Infinity]
const after: Rule = [
  'an integer of at least -1',
  (value) => Number.isInteger(value) && (value as number) >= -1,
]
const either = (...values: readonly unknown[]): Rule => [
  values.map((value) => JSON.stringify(value)).join(' or '),
  (value) => values.includes(value),
]
const spelled: Rule = [
  'a string or a number',
  (value) => typeof value === 'string' || typeof value === 'number',
]

const RULES: Readonly<Record<keyof Fault, Rule>> = {
  times: count,
  path: text,
  match: ['a function', (value) => typeof value === 'function'],
  delayMs: delay,
  hang: flag,
  resetBeforeHeaders: flag,
  raw: text,
  status: [
    'an HTTP status from 200 to 599',
    (value) => Number.isInteger(value) && (value as number) >= 200 && (value as number) <= 599,
  ],
  body: text,
  retryAfter: [
    'a string, a number or a valid Date',
    (value) => spelled[1](value) || (value instanceof Date && !Number.isNaN(value.getTime())),
  ],
  retryAfterMs: spelled,
  retryAfterSeconds: ['a number', (value) => typeof value === 'number'],
  redirect: text,
  json: either('malformed', 'truncated', 'html', 'empty', 'shape'),
  headers: [
    'an object of strings',
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.values(value).every((one) => typeof one === 'string'),
  ],
  contentType: text,
  gzip: either(true, false, 'truncated', 'bomb'),
  cutAfterChunks: after,
  cutWith: either('fin', 'rst'),
  endAfterChunks: after,
  stallAfterChunks: after,
  heartbeatMs: ['a number of milliseconds of at least 1', (value) => isDelay(value) && value >= 1],
  errorAfterChunks: after,
  garbageAfterChunks: after,
  garbage: either('json', 'utf8'),
  noDone: flag,
  openAfterDone: flag,
  ghostChunks: [
    'an integer of at least 0',
    (value) => Number.isInteger(value) && (value as number) >= 0,
  ],
  oneChunk: flag,
  splitBytes: whole,
  chunkDelayMs: delay,
  bigBody: count,
  bigLine: count,
}

/**
 * Refuses a fault that could not do what it says.
 *
 * @throws {TypeError} naming the field.
 * @internal
 */
export function checkFault(fault: unknown): asserts fault is Fault {
  if (typeof fault !== 'object' || fault === null || Array.isArray(fault))
    throw new TypeError('local Blossom: a fault must be an object.')
  for (const [name, value] of Object.entries(fault)) {
    const rule = Object.hasOwn(RULES, name) ? RULES[name as keyof Fault] : undefined
    if (rule === undefined) throw new TypeError(`local Blossom: a fault has no field \`${name}\`.`)
    if (value !== undefined && !rule[1](value))
      throw new TypeError(`local Blossom: \`${name}\` of a fault must be ${rule[0]}.`)
  }
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
