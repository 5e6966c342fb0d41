import type { LayerHooks } from './layer.js'
import type { CallOptions } from './types.js'

/** An answer as a stack hands it out: a value as it is, a stream as an async generator. */
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

/** Stats keyed by layer name, in order; a repeated name gets a number. */
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
  /** Why its place is odd, when it is. */
  readonly note?: string
}

/** How a stack, or the client, is closed. */
export interface CloseOptions {
  /**
   * How long calls under way may go on before they are cut with `CLOSED`. Milliseconds.
   * @default 30000
   */
  timeoutMs?: number | undefined
}

/** A function without parameters may be called without a request. */
type StackArguments<Request> = unknown extends Request
  ? [request?: Request, options?: CallOptions]
  : undefined extends Request
    ? [request?: Request, options?: CallOptions]
    : [request: Request, options?: CallOptions]

/** A base with layers around it. Call it like the base. */
export interface Stack<Request, Answer, Layers extends readonly unknown[] = readonly []> {
  (...args: StackArguments<Request>): Promise<Handed<Answer>>
  /** The layers' stats, keyed by their names. */
  stats(): StackStats<Layers>
  /** The layers, outermost first, with live stats and a note where the order is odd. */
  describe(): LayerDescription[]
  /**
   * Takes no new calls, ends those that wait with `CLOSED`, lets running ones finish and cuts what
   * is left after `timeoutMs`. Calling it again gives the same promise.
   */
  close(options?: CloseOptions): Promise<void>
  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}
