import { ValidationError } from '../errors.js'
import type { Attempt } from '../events/attempt.js'
import { isNotes, type Trace } from '../events/trace.js'
import { isMap, isSignal } from '../shape.js'
import type { Cancel } from '../time/cancel.js'
import { now } from '../time/clock.js'
import { cancelOf } from '../time/signals.js'
import type { CallOptions, Context } from '../types.js'
import type { CallSettings } from './settings.js'

/** A year. A deadline further ahead is most likely a `Date.now()` value. */
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

/** A call's options after validation. */
export interface CheckedOptions extends CallSettings {
  readonly parent: Cancel | undefined
  readonly deadline: number
  /** Milliseconds from the call's start to its deadline, as given or as left over. */
  readonly limitMs: number
  readonly meta: Map<string, unknown> | undefined
  /** Whether the caller passed `meta` and so gets the call's timeline. */
  readonly isTimed: boolean
  /** The trace of the outer call, when this stack is the base of another. */
  readonly trace: Trace | undefined
  /** The attempt of the outer call that this call belongs to. */
  readonly attempt: Attempt | undefined
}

/** The options of a call without options. */
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

/** Reads each option once, because a getter may return something else the next time. */
function read(options: CallOptions): CallOptions | Context {
  // Without this check, a bare signal would pass as an empty options object.
  if (
    typeof options !== 'object' ||
    options === null ||
    Array.isArray(options) ||
    isSignal(options)
  ) {
    return refuse(
      'The second argument of a call must be an options object: { signal, timeoutMs, deadline, … }.',
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

// Not `instanceof`: the outer stack may come from another copy of this library.
const isContext = (options: CallOptions | Context): options is Context =>
  typeof (options as Partial<Context>).derive === 'function'

function readSafely(options: CallOptions): CallOptions | Context {
  try {
    return read(options)
  } catch (error) {
    if (error instanceof ValidationError) throw error
    return refuse('Call options could not be read because a getter threw. Pass a plain object.')
  }
}

/**
 * Validates a call's options. A stack that is the base of another stack receives that call's
 * context instead and takes over its settings.
 *
 * @throws ValidationError (`VALIDATION`) when an option is unknown or invalid
 */
export function readOptions(given: CallOptions | Context): CheckedOptions {
  const options = readSafely(given)
  if (isContext(options)) return takeOver(options)
  const { signal, timeoutMs, deadline, priority, tenant, cache, meta } = options
  let until = Number.POSITIVE_INFINITY
  let limitMs = Number.POSITIVE_INFINITY
  if (timeoutMs !== undefined) {
    if (typeof timeoutMs !== 'number' || !(timeoutMs > 0) || timeoutMs > YEAR_MS) {
      refuse('Call option "timeoutMs" must be a number of milliseconds above 0 and at most a year.')
    }
    until = now() + timeoutMs
    limitMs = timeoutMs
  }
  if (deadline !== undefined && deadline !== Number.POSITIVE_INFINITY) {
    if (typeof deadline !== 'number' || Number.isNaN(deadline))
      refuse(
        'Call option "deadline" must be a time on the performance.now() clock, in milliseconds.',
      )
    if (deadline > now() + YEAR_MS) {
      refuse(
        'Call option "deadline" is more than a year ahead. Use performance.now() + ms, not Date.now() + ms.',
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
    refuse('Call option "tenant" must be a non-empty string.')
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
  // Contexts of earlier versions have neither field.
  const { optional = false, via = '' } = context
  return {
    parent: cancel,
    // Getters, because the deadline of shared work moves.
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
