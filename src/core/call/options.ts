import { ValidationError } from '../errors.js'
import type { Attempt } from '../events/attempt.js'
import { isNotes, type Trace } from '../events/trace.js'
import { isMap, isSignal } from '../shape.js'
import type { Cancel } from '../time/cancel.js'
import { now } from '../time/clock.js'
import { cancelOf } from '../time/signals.js'
import type { CallOptions, Context } from '../types.js'
import type { CallSettings } from './settings.js'

/** A year: a deadline further off is somebody's `Date.now()`. */
const YEAR_MS = 366 * 24 * 3_600_000

/** The names of a call's options. */
export const CALL_OPTIONS: ReadonlySet<string> = new Set<keyof CallOptions>([
  'signal',
  'timeoutMs',
  'deadline',
  'priority',
  'tenant',
  'cache',
  'meta',
])

/** Options of a call, checked. */
export interface CheckedOptions extends CallSettings {
  readonly parent: Cancel | undefined
  readonly deadline: number
  /** How long that is from the call's start: what was asked for, or what was left. */
  readonly limitMs: number
  readonly meta: Map<string, unknown> | undefined
  /** Whether the caller looks into `meta`, so that the call's timeline belongs there. */
  readonly isTimed: boolean
  /** Of the call that asks, when a stack is another's base. */
  readonly trace: Trace | undefined
  /** The call of the base in which it asks. */
  readonly attempt: Attempt | undefined
}

/** What holds without options. */
export const NO_OPTIONS: CheckedOptions = {
  parent: undefined,
  deadline: Number.POSITIVE_INFINITY,
  limitMs: Number.POSITIVE_INFINITY,
  priority: 0,
  tenant: undefined,
  cache: 'default',
  meta: undefined,
  isTimed: false,
  transport: undefined,
  optional: false,
  via: '',
  trace: undefined,
  attempt: undefined,
}

const refuse = (sentence: string): never => {
  throw new ValidationError(sentence)
}

/** The options, each read once: a getter may say something else the next time. */
function read(options: CallOptions): CallOptions | Context {
  // A bare signal has no fields of its own, so it would pass for empty options.
  if (
    typeof options !== 'object' ||
    options === null ||
    Array.isArray(options) ||
    isSignal(options)
  ) {
    return refuse(
      'The second argument of a call must be an object of options: { signal, timeoutMs, deadline, … }.',
    )
  }
  if (isContext(options)) return options
  for (const name of Object.keys(options)) {
    if (!CALL_OPTIONS.has(name))
      refuse(
        `Call option ${JSON.stringify(name.slice(0, 40))} is unknown; expected one of ${[...CALL_OPTIONS].join(', ')}.`,
      )
  }
  const { signal, timeoutMs, deadline, priority, tenant, cache, meta } = options
  if (signal !== undefined && !isSignal(signal))
    refuse('Call option "signal" must be an AbortSignal.')
  if (meta !== undefined && !isMap(meta)) refuse('Call option "meta" must be a Map.')
  return { signal, timeoutMs, deadline, priority, tenant, cache, meta }
}

// Not `instanceof`: the outer stack may be another copy of this library.
const isContext = (options: CallOptions | Context): options is Context =>
  typeof (options as Partial<Context>).derive === 'function'

function readSafely(options: CallOptions): CallOptions | Context {
  try {
    return read(options)
  } catch (error) {
    if (error instanceof ValidationError) throw error
    return refuse('Call options could not be read: a getter threw.')
  }
}

/**
 * Checks what a caller asked for: whose cancellation the call follows, and until when it may run.
 * A stack that is another's base takes over its context.
 */
export function readOptions(given: CallOptions | Context): CheckedOptions {
  const options = readSafely(given)
  if (isContext(options)) return takeOver(options)
  const { signal, timeoutMs, deadline, priority, tenant, cache, meta } = options
  let until = Number.POSITIVE_INFINITY
  let limitMs = Number.POSITIVE_INFINITY
  if (timeoutMs !== undefined) {
    if (typeof timeoutMs !== 'number' || !(timeoutMs > 0) || timeoutMs > YEAR_MS) {
      refuse('Call option "timeoutMs" must be a number of milliseconds above 0 and within a year.')
    }
    until = now() + timeoutMs
    limitMs = timeoutMs
  }
  if (deadline !== undefined && deadline !== Number.POSITIVE_INFINITY) {
    if (typeof deadline !== 'number' || Number.isNaN(deadline))
      refuse('Call option "deadline" must be a moment on the performance.now() clock.')
    if (deadline > now() + YEAR_MS) {
      refuse(
        'Call option "deadline" lies more than a year ahead: it counts on the performance.now() clock, not on Date.now().',
      )
    }
    if (deadline < until) {
      until = deadline
      limitMs = deadline - now()
    }
  }
  if (priority !== undefined && !Number.isFinite(priority))
    refuse('Call option "priority" must be a finite number.')
  if (tenant !== undefined && (typeof tenant !== 'string' || tenant === ''))
    refuse('Call option "tenant" must be a string that is not empty.')
  if (cache !== undefined && cache !== 'default' && cache !== 'reload' && cache !== 'no-store') {
    refuse('Call option "cache" must be "default", "reload" or "no-store".')
  }
  return {
    parent: signal === undefined ? undefined : cancelOf(signal),
    deadline: until,
    limitMs,
    priority: priority ?? 0,
    tenant,
    cache: cache ?? 'default',
    meta,
    isTimed: meta !== undefined && !isNotes(meta),
    transport: undefined,
    optional: false,
    via: '',
    trace: undefined,
    attempt: undefined,
  }
}

function takeOver(context: Context): CheckedOptions {
  const { cancel, priority, tenant, cache, meta, transport, trace, attempt } = context
  const since = now()
  // Of an earlier version's context neither is known.
  const { optional = false, via = '' } = context
  return {
    parent: cancel,
    // Looked up: of shared work it moves.
    get deadline() {
      return context.deadline
    },
    get limitMs() {
      return context.deadline - since
    },
    priority,
    tenant,
    cache,
    meta,
    isTimed: false,
    transport,
    optional,
    via,
    trace,
    attempt,
  }
}
