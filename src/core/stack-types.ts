import type { LayerHooks } from './layer.js'
import type { CallOptions } from './types.js'

/** An answer as a stack returns it: a value as it is, a stream as an async generator. */
export type Handed<Answer> =
  Answer extends AsyncIterable<infer Chunk> ? AsyncGenerator<Chunk, undefined, undefined> : Answer

type NameOf<L> = L extends { readonly hooks: LayerHooks; readonly name: infer Name extends string }
  ? Name
  : never
type StatsOf<L> = L extends { readonly hooks: LayerHooks; stats(): infer Stats } ? Stats : never

type Numbered<
  Name extends string,
  Taken extends string,
  N extends 1[] = [1, 1],
> = Name extends Taken
  ? `${Name}${N['length']}` extends Taken
    ? Numbered<Name, Taken, [...N, 1]>
    : `${Name}${N['length']}`
  : Name

/** Stats keyed by layer name, in order. A repeated name gets a number. */
export type StackStats<
  Layers extends readonly unknown[],
  Stats extends object = object,
> = Layers extends readonly [infer L, ...infer Rest]
  ? [NameOf<L>] extends [never]
    ? StackStats<Rest, Stats>
    : StackStats<Rest, Stats & Record<Numbered<NameOf<L>, keyof Stats & string>, StatsOf<L>>>
  : { readonly [K in keyof Stats]: Stats[K] }

/** One layer of a stack, as `describe()` returns it. */
export interface LayerDescription {
  readonly name: string
  readonly stats: object
  /** What is wrong with the layer's position, if anything. */
  readonly note?: string
}

/** Options of `close()` of a stack or client. */
export interface CloseOptions {
  /**
   * How long running calls may continue before they end with `CLOSED`. Milliseconds.
   * @default 30000
   */
  timeoutMs?: number | undefined
}

/** A function without parameters can be called without a request. */
type StackArguments<Request> = unknown extends Request
  ? [request?: Request, options?: CallOptions]
  : undefined extends Request
    ? [request?: Request, options?: CallOptions]
    : [request: Request, options?: CallOptions]

/** A base with layers around it. Call it like the base. */
export interface Stack<Request, Answer, Layers extends readonly unknown[] = readonly []> {
  (...args: StackArguments<Request>): Promise<Handed<Answer>>
  /** The layers' stats, keyed by layer name. */
  stats(): StackStats<Layers>
  /**
   * The layers, outermost first, with current stats and a note for each layer in the wrong
   * position.
   */
  describe(): LayerDescription[]
  /**
   * Closes the stack: rejects new and waiting calls with `CLOSED`, lets running calls finish, and
   * ends those left after `timeoutMs`. Calling it again returns the same promise.
   */
  close(options?: CloseOptions): Promise<void>
  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}
