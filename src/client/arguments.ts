import {
  check,
  isRecord,
  isSignal,
  type rules,
  CALL_OPTIONS as STACK_OPTIONS,
  ValidationError,
} from '../core/index.js'
import { TooLargeError } from './errors.js'
import type { BlossomCallOptions } from './types.js'

/** The names every method takes beside its own fields. */
const CALL_OPTIONS: ReadonlySet<string> = new Set<string>([...STACK_OPTIONS, 'apiKey'])

const refuse = (sentence: string) => new ValidationError(sentence)

/**
 * Parts a method's options into its own fields, checked by `fieldRules`, and the call's, which the
 * stack checks.
 */
export function readArguments<Fields extends object>(
  method: string,
  options: object | undefined,
  fieldRules: { readonly [K in keyof Fields]: rules.Rule<Fields[K]> },
): { fields: Fields; call: BlossomCallOptions } {
  // Without a prototype, so that a field named `__proto__` is a field like others.
  const own: Record<string, unknown> = Object.create(null)
  const call: Record<string, unknown> = Object.create(null)
  for (const [name, value] of entriesOf(method, options))
    (CALL_OPTIONS.has(name) ? call : own)[name] = value
  return {
    fields: check<Fields>(method, own, fieldRules, refuse, [...CALL_OPTIONS]),
    call: call as BlossomCallOptions,
  }
}

/** The names and values of a method's options. */
export function entriesOf(method: string, options: object | undefined): [string, unknown][] {
  if (options === undefined) return []
  let entries: [string, unknown][] | undefined
  try {
    // A bare signal has no fields of its own, so it would pass for empty options.
    const isObject =
      typeof options === 'object' &&
      options !== null &&
      !Array.isArray(options) &&
      !isSignal(options)
    if (isObject) entries = Object.entries(options)
  } catch {
    throw refuse(`${method}: an option could not be read: its getter threw.`)
  }
  if (entries === undefined) throw refuse(`${method}: options must be an object.`)
  return entries
}

/**
 * Whether a call's options may hold a key of its own; what cannot be read is for `entriesOf` to
 * refuse.
 */
export function bringsKey(options: unknown): boolean {
  try {
    return isRecord(options) && 'apiKey' in options
  } catch {
    return true
  }
}

/** A prompt is a string with something in it. */
export function checkPrompt(method: string, prompt: unknown): string {
  if (typeof prompt !== 'string')
    throw refuse(
      `${method}: the prompt must be a string, got ${prompt === null ? 'null' : typeof prompt}.`,
    )
  if (prompt === '') throw refuse(`${method}: the prompt is empty.`)
  return prompt
}

/** Longer paths are refused by servers between here and there, with less clear words. */
const LONGEST_SEGMENT = 8_192

/** A prompt as one segment of a path: never more than one, never `.` or `..`. */
export function pathSegment(method: string, prompt: string): string {
  if (prompt === '.' || prompt === '..')
    throw refuse(`${method}: a prompt of dots alone cannot be put into a path.`)
  if (/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(prompt)) {
    throw refuse(
      `${method}: the prompt holds half of a surrogate pair and cannot be put into a path.`,
    )
  }
  // Each character becomes at least one: an enormous prompt need not be encoded to know.
  const segment = prompt.length > LONGEST_SEGMENT ? undefined : encodeURIComponent(prompt)
  if (segment === undefined || segment.length > LONGEST_SEGMENT) {
    const sentence = `${method}: the prompt is longer than ${LONGEST_SEGMENT} characters once encoded, too long for a URL.`
    throw new TooLargeError(sentence, { status: 413, refused: true })
  }
  return segment
}

/** Node's own limit for all of a request's head. */
const LONGEST_PATH = 16_384

/** A path with its query, when it is not too long for a request. */
export function checkLength(method: string, path: string): string {
  if (path.length <= LONGEST_PATH) return path
  const sentence = `${method}: path and query are longer than ${LONGEST_PATH} characters once encoded, too long for a URL.`
  throw new TooLargeError(sentence, { status: 413, refused: true })
}

/** A path from outside: on our host, one line, no way up. */
export function checkPath(path: unknown): string {
  if (typeof path !== 'string' || !/^\/(?!\/)[\x21-\x7e]*$/.test(path) || /[#\\]/.test(path)) {
    throw refuse(
      'request: the path must begin with one "/" and hold only printable ASCII; percent-encode the rest.',
    )
  }
  const [segments = ''] = path.split('?', 1)
  if (segments.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment)))
    throw refuse('request: the path must not hold "." or ".." segments.')
  return path
}
