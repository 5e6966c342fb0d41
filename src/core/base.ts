import { stableKey } from './key.js'
import { AnswerStream, isStream } from './stream.js'
import type { BaseFacts, BaseTraits, Context, Handler } from './types.js'

const TRAITS = Symbol('blossom-stack.traits')

/** A function that a stack can be built on, with what it has told of itself. */
export type Base<Request, Answer> = (request: Request, context: Context) => Answer | Promise<Answer>

type ChunkOf<Answer> = Answer extends AsyncIterable<infer Chunk> ? Chunk : unknown

/**
 * Tells what layers must know of a function and may not guess: whether a request streams, its identity, what commits a stream.
 * All traits are optional; `stack(fn)` without any works.
 *
 * @example stack(base(ask, { streams: (request) => request.stream === true }), timeout({ ms: 5_000, firstTokenMs: 1_000 }))
 */
export function base<Request, Result>(
  fn: (request: Request, context: Context) => Result,
  traits: BaseTraits<Request, Awaited<Result>, ChunkOf<Awaited<Result>>>,
): (request: Request, context: Context) => Result {
  const told = (request: Request, context: Context): Result => fn(request, context)
  Object.defineProperty(told, 'name', { value: fn.name, configurable: true })
  return Object.defineProperty(told, TRAITS, { value: traits })
}

const firstChunkCommits = () => true
const always = () => true

/** Reads a base's traits and fills in the defaults. */
export function factsOf(fn: object & { name?: string }): BaseFacts {
  const traits = ((fn as { [TRAITS]?: BaseTraits })[TRAITS] ?? {}) as BaseTraits
  return {
    name: fn.name || 'base',
    streams: traits.streams ?? (isGeneratorFunction(fn) ? always : undefined),
    key: traits.key ?? stableKey,
    commits: traits.commits ?? firstChunkCommits,
    complete: traits.complete ?? always,
    valid: traits.valid ?? always,
    toStream: traits.toStream,
    fromStream: traits.fromStream,
    split: traits.split ?? ((request) => (Array.isArray(request) ? { group: '', size: request.length } : undefined)),
    merge: traits.merge ?? mergeArrays,
    unreadMs: traits.unreadMs ?? 30_000,
  }
}

/** Hands a base's traits on to a function that stands for it. */
export function withTraitsOf<F extends object>(fn: F, of: object): F {
  const traits = (of as { [TRAITS]?: BaseTraits })[TRAITS]
  return traits === undefined ? fn : Object.defineProperty(fn, TRAITS, { value: traits })
}

/** The innermost handler: calls the base and resolves a stream at its commit. */
export function baseHandler<Request, Answer>(fn: Base<Request, Answer>, facts: BaseFacts): Handler<Request, Answer> {
  return async (request, context) => {
    context.cancel.throwIfAborted()
    const answer = await fn(request, context)
    if (answer instanceof AnswerStream || !isStream(answer)) return answer
    const stream = AnswerStream.from(answer, { cancel: context.cancel, commits: facts.commits, unreadMs: facts.unreadMs })
    await stream.ready
    return stream as Answer
  }
}

function isGeneratorFunction(fn: object): boolean {
  return fn[Symbol.toStringTag as keyof typeof fn] === 'AsyncGeneratorFunction'
}

function mergeArrays(requests: readonly unknown[]) {
  return {
    request: (requests as unknown[][]).flat(1),
    part: (answer: unknown, from: number, size: number) => {
      if (!Array.isArray(answer)) throw new TypeError('A batched function must answer with an array, one item for each input.')
      return answer.slice(from, from + size)
    },
  }
}
