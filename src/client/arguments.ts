import {
  check,
  isRecord,
  isSignal,
  rules,
  CALL_OPTIONS as STACK_OPTIONS,
  ValidationError,
} from '../core/index.js'
import { TooLargeError } from './errors.js'
import type { BlossomCallOptions } from './types.js'

/** The call options that every method accepts in addition to its own fields. */
const CALL_OPTIONS: ReadonlySet<string> = new Set<string>([...STACK_OPTIONS, 'apiKey'])

const refuse = (sentence: string) => new ValidationError(sentence)

/**
 * Splits a method's options into its own fields, which `fieldRules` checks here, and the call
 * options, which the stack checks.
 */
export function readArguments<Fields extends object>(
  method: string,
  options: object | undefined,
  fieldRules: { readonly [K in keyof Fields]: rules.Rule<Fields[K]> },
): { fields: Fields; call: BlossomCallOptions } {
  // Without a prototype, so that `__proto__` is treated like any other field.
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
    // An AbortSignal has no own fields, so it would be accepted as empty options.
    const isObject =
      typeof options === 'object' &&
      options !== null &&
      !Array.isArray(options) &&
      !isSignal(options)
    if (isObject) entries = Object.entries(options)
  } catch {
    throw refuse(`${method}: an option could not be read, because its getter threw.`)
  }
  if (entries === undefined) throw refuse(`${method}: options must be an object.`)
  return entries
}

/**
 * Whether a call's options may contain an `apiKey`. True for options that cannot be read, so that
 * `entriesOf` rejects them.
 */
export function bringsKey(options: unknown): boolean {
  try {
    return isRecord(options) && 'apiKey' in options
  } catch {
    return true
  }
}

/** @throws ValidationError unless the prompt is a non-empty string */
export function checkPrompt(method: string, prompt: unknown): string {
  if (typeof prompt !== 'string') throw refuse(wrongPrompt(method, prompt))
  if (prompt === '') throw refuse(`${method}: the prompt is empty.`)
  return prompt
}

function wrongPrompt(method: string, prompt: unknown): string {
  const isList = rules.show(prompt) === 'an array'
  const got = prompt === null ? 'null' : isList ? 'an array' : typeof prompt
  const [group, name] = method.split('.')
  const isChat = isList && group === 'text'
  const hint = isChat ? ` For messages, use chat.${name === 'stream' ? name : 'create'}().` : ''
  return `${method}: the prompt must be a string, got ${got}.${hint}`
}

/** In characters. Proxies reject longer paths, with a less helpful error. */
const LONGEST_SEGMENT = 8_192

/** Encodes a prompt as exactly one path segment, which is never `.` or `..`. */
export function pathSegment(method: string, prompt: string): string {
  if (prompt === '.' || prompt === '..')
    throw refuse(
      `${method}: the prompts "." and ".." cannot be sent in a URL path. Add other text.`,
    )
  if (/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(prompt)) {
    throw refuse(
      `${method}: the prompt contains an unpaired surrogate and cannot be sent in a URL path. Remove it.`,
    )
  }
  // Encoding never shortens a prompt, so one that is too long already need not be encoded.
  const segment = prompt.length > LONGEST_SEGMENT ? undefined : encodeURIComponent(prompt)
  if (segment === undefined || segment.length > LONGEST_SEGMENT) {
    const sentence = `${method}: the prompt is too long for a URL: at most ${LONGEST_SEGMENT} characters are allowed after encoding. Shorten it.`
    throw new TooLargeError(sentence, { status: 413, refused: true })
  }
  return segment
}

/** In characters. Node's limit for the whole head of a request. */
const LONGEST_PATH = 16_384

/**
 * Returns a path with its query.
 * @throws TooLargeError when it is too long for a request
 */
export function checkLength(method: string, path: string): string {
  if (path.length <= LONGEST_PATH) return path
  const sentence = `${method}: the path and query are too long for a URL: at most ${LONGEST_PATH} characters are allowed after encoding. Shorten the options.`
  throw new TooLargeError(sentence, { status: 413, refused: true })
}

/**
 * Checks a path given by the user: it must stay on the client's host, fit on one line and contain
 * no `..` segment.
 */
export function checkPath(path: unknown): string {
  if (typeof path !== 'string' || !/^\/(?!\/)[\x21-\x7e]*$/.test(path) || /[#\\]/.test(path)) {
    throw refuse(
      'request: the path must begin with a single "/" and contain only printable ASCII characters, without "#" and "\\". Percent-encode all others.',
    )
  }
  const [segments = ''] = path.split('?', 1)
  if (segments.split('/').some((segment) => /^(\.|%2e){1,2}$/i.test(segment)))
    throw refuse('request: the path must not contain "." or ".." segments.')
  return path
}
