import { callback, check, duration, text } from './check.js'
import { ConfigError } from './errors.js'
import type { Trace } from './events/trace.js'
import { stableKey } from './key.js'
import { processWide } from './process-wide.js'
import { slices } from './slices.js'
import { isStream, onEnd, Stream, streamFrom, streamOf } from './stream/index.js'
import { tokensOf } from './tokens.js'
import type { BaseFacts, BaseTraits } from './traits.js'
import type { Context, Handler, MaybePromise } from './types.js'
import { atOnce, hookFailed } from './warn.js'

/** Shared with other copies of this library in the process (ESM and CommonJS). */
const TRAITS: unique symbol = Symbol.for('blossom-stack.traits') as never

/** A function that a stack can be built on, with its traits. */
export type Base<Request, Answer> = (request: Request, context: Context) => Answer | Promise<Answer>

type ChunkOf<Answer> = Answer extends AsyncIterable<infer Chunk> ? Chunk : unknown

// `base` is generic in the whole function, not in its request and result. Otherwise TypeScript
// cannot infer an inline `stack(base(…), layer)`.
type TraitsOf<Fn> = Fn extends (request: infer Request, ...context: never[]) => infer Result
  ? BaseTraits<Request, Awaited<Result>, ChunkOf<Awaited<Result>>>
  : never

const RULES = {
  name: text(undefined),
  streams: callback(),
  key: callback(),
  model: callback(),
  withModel: callback(),
  fromValue: callback(),
  joins: callback(),
  ownKey: callback(),
  conversation: callback(),
  weigh: callback(),
  usage: callback(),
  operation: callback(),
  reports: callback(),
  price: callback(),
  commits: callback(),
  complete: callback(),
  valid: callback(),
  toStream: callback(),
  variant: callback(),
  replay: callback(),
  fromStream: callback(),
  split: callback(),
  merge: callback(),
  divide: callback(),
  unreadMs: duration(undefined),
  onEvent: callback(),
}

/**
 * Attaches traits to a function: facts that layers need and cannot find out by themselves, such as
 * whether a request asks for a stream, what identifies a request, and which chunk commits a stream.
 * All traits are optional, and `stack(fn)` works without any. Traits that the function already has
 * are kept unless `traits` contains a new value.
 *
 * @throws ConfigError (`CONFIG`) when a trait is unknown or has the wrong type
 * @example stack(base(ask, { streams: (request) => request.stream === true }), timeout({ ms: 5_000, firstTokenMs: 1_000 }))
 */
export function base<Fn extends (request: never, context: Context) => unknown>(
  fn: Fn,
  traits: TraitsOf<Fn>,
): Fn {
  if (typeof fn !== 'function')
    throw new ConfigError('base: the first argument must be a function that takes a request.')
  const checked = check('base', traits, RULES)
  const stated = Object.fromEntries(
    Object.entries(checked).filter(([, trait]) => trait !== undefined),
  )
  const all = { ...(fn as { [TRAITS]?: BaseTraits })[TRAITS], ...stated }
  const handler = (request: never, context: Context) => fn(request, context)
  Object.defineProperty(handler, 'name', { value: all.name ?? fn.name, configurable: true })
  return Object.defineProperty(handler, TRAITS, { value: all }) as unknown as Fn
}

const firstChunkCommits = () => true
const always = () => true
const unknown = () => undefined
const asStored = (chunks: readonly unknown[]) => chunks
const never = () => false

/** Reads a base's traits and fills in the defaults. */
export function factsOf(fn: object & { name?: string }): BaseFacts {
  const traits = ((fn as { [TRAITS]?: BaseTraits })[TRAITS] ?? {}) as BaseTraits
  return {
    name: traits.name ?? (fn.name || 'base'),
    scope: traits.key === undefined ? scopeOf(fn) : '',
    sharedScope: traits.key === undefined ? traits.name : '',
    streams: traits.streams
      ? undefinedOnError('streams()', traits.streams)
      : isGeneratorFunction(fn)
        ? always
        : undefined,
    key: synchronous(traits.key) ?? stableKey,
    model: traits.model && undefinedOnError('model()', traits.model),
    withModel: traits.withModel && undefinedOnError('withModel()', traits.withModel),
    fromValue: synchronous(traits.fromValue),
    joins: traits.joins ? undefinedOnError('joins()', traits.joins) : never,
    ownKey: traits.ownKey ? undefinedOnError('ownKey()', traits.ownKey) : never,
    conversation: traits.conversation
      ? undefinedOnError('conversation()', traits.conversation)
      : unknown,
    weigh: traits.weigh ? undefinedOnError('weigh()', traits.weigh) : weighJson,
    usage: traits.usage ? undefinedOnError('usage()', traits.usage) : unknown,
    operation: traits.operation ? undefinedOnError('operation()', traits.operation) : unknown,
    reports: traits.reports ? undefinedOnError('reports()', traits.reports) : unknown,
    price: traits.price ? undefinedOnError('price()', traits.price) : unknown,
    countsTokens: traits.weigh !== undefined || traits.usage !== undefined,
    commits: synchronous(traits.commits) ?? firstChunkCommits,
    complete: synchronous(traits.complete) ?? always,
    valid: synchronous(traits.valid) ?? always,
    toStream: synchronous(traits.toStream),
    variant: traits.variant ? undefinedOnError('variant()', traits.variant) : unknown,
    replay: synchronous(traits.replay) ?? asStored,
    fromStream: synchronous(traits.fromStream),
    split:
      synchronous(traits.split) ??
      ((request) => (Array.isArray(request) ? { group: '', size: request.length } : undefined)),
    merge: synchronous(traits.merge) ?? mergeArrays,
    divide: synchronous(traits.divide) ?? (traits.split || traits.merge ? undefined : divideArray),
    unreadMs: traits.unreadMs ?? 30_000,
    onEvent: traits.onEvent,
  }
}

function weighJson(request: unknown): { input: number } {
  const text = typeof request === 'string' ? request : stableKey(request)
  return { input: tokensOf(text?.length ?? 0) }
}

/**
 * Wraps a trait so that returning a promise throws. Errors reach the caller, which must handle
 * them.
 */
function synchronous<A extends unknown[], T>(
  trait: ((...asked: A) => T) | undefined,
): ((...asked: A) => T) | undefined {
  return trait && ((...asked) => atOnce(trait(...asked)))
}

/** Wraps a trait so that an error becomes a warning and the result is undefined. */
function undefinedOnError<A extends unknown[], T>(
  name: string,
  trait: (...asked: A) => T,
): (...asked: A) => T | undefined {
  return (...asked) => {
    try {
      return atOnce(trait(...asked))
    } catch (error) {
      hookFailed(name, error)
      return undefined
    }
  }
}

/** Copies a base's traits to a function that replaces it. */
export function withTraitsOf<F extends object>(fn: F, of: object): F {
  const traits = (of as { [TRAITS]?: BaseTraits })[TRAITS]
  return traits === undefined ? fn : Object.defineProperty(fn, TRAITS, { value: traits })
}

/** The innermost handler: calls the base. A stream is returned once it has committed. */
export function baseHandler<Request, Answer>(
  fn: Base<Request, Answer>,
  facts: BaseFacts,
): Handler<Request, Answer> {
  // Not `async`, which would cost 300 bytes more for each call. It still always returns a promise
  // and never throws.
  const ask = (request: Request, context: Context): Promise<Answer> => {
    try {
      context.cancel.throwIfAborted()
      context.countAttempt()
      const answer = fn(request, context)
      return Promise.resolve(answer).then((given) => committed(given, facts, context))
    } catch (error) {
      return Promise.reject(error)
    }
  }
  return (request, context) =>
    context.trace === undefined
      ? ask(request, context)
      : attempt(ask, request, context, context.trace)
}

/** Returns a value as it is, and a stream once it has committed. */
function committed<Answer>(
  answer: Answer,
  { commits, unreadMs }: BaseFacts,
  { cancel }: Context,
): MaybePromise<Answer> {
  if (answer instanceof Stream || !isStream(answer)) return answer
  const stream = streamFrom(answer, { cancel, commits, unreadMs })
  return stream.log.ready.then(() => stream as Answer)
}

/** Calls the base and publishes the attempt's start and end. */
async function attempt<Request, Answer>(
  ask: Handler<Request, Answer>,
  request: Request,
  context: Context,
  trace: Trace,
): Promise<Answer> {
  const { cancel, transport } = context
  const attempt = trace.attempt(request, transport?.member)
  try {
    const answer = await attempt.run(() => ask(request, context.derive({ attempt })))
    const stream = streamOf(answer)
    if (stream === undefined) attempt.answered(answer)
    else {
      attempt.firstToken()
      stream.tap((chunk) => attempt.see(chunk))
    }
    return onEnd((stream ?? answer) as Answer, (end) => attempt.end(end, cancel))
  } catch (error) {
    attempt.end({ outcome: 'failed', error }, cancel)
    throw error
  }
}

/**
 * Shared by all copies of the library, because one cache may serve stacks built with two of them.
 */
const scopes = processWide('scopes', () => ({ names: new WeakMap<object, string>(), count: 0 }))

/**
 * A unique name for each function, so that equal requests to two functions are not treated as
 * equal.
 */
function scopeOf(fn: object): string {
  let scope = scopes.names.get(fn)
  if (scope === undefined) {
    scope = `fn${++scopes.count}`
    scopes.names.set(fn, scope)
  }
  return scope
}

function isGeneratorFunction(fn: object): boolean {
  return fn[Symbol.toStringTag as keyof typeof fn] === 'AsyncGeneratorFunction'
}

function mergeArrays(requests: readonly unknown[]) {
  const request = (requests as unknown[][]).flat(1)
  return {
    request,
    part: (answer: unknown, from: number, size: number) =>
      itemsOf(answer, request.length).slice(from, from + size),
  }
}

function divideArray(request: unknown, size: number) {
  const requests = slices(request as unknown[], size)
  return {
    requests,
    join: (answers: readonly unknown[]) =>
      requests.flatMap(({ length }, i) => itemsOf(answers[i], length)),
  }
}

function itemsOf(answer: unknown, count: number): unknown[] {
  if (Array.isArray(answer) && answer.length === count) return answer
  throw new TypeError('batcher: the function must return an array with exactly one item per input.')
}
