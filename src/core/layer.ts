import type { SharedState } from './shared-state/index.js'
import type { BaseFacts } from './traits.js'
import type { Handler } from './types.js'

/**
 * A layer: a function from handler to handler, with a name and stats.
 * One that is typed for certain requests or answers is refused by a stack of others.
 */
export interface Layer<
  Name extends string = string,
  Stats extends object = object,
  Request = unknown,
  Answer = unknown,
> {
  <R extends Request, A extends Answer>(next: Handler<R, A>): Handler<R, A>
  /** Key in `stats()`. */
  readonly name: Name
  /** Counters since creation and gauges of now, as a fresh plain object. */
  stats(): Stats
  /** @internal */
  readonly hooks: LayerHooks
}

/** What a stack needs of a layer beside its function. */
export interface LayerHooks {
  /** What kind of layer it is, whatever its name. */
  readonly kind: string
  /** What it has together with the layers of other processes. */
  readonly shared: SharedState | undefined
  /** Kinds that are better placed inside this one, each with the reason for it. */
  readonly outside: Readonly<Record<string, string>>
  /** Throws a `ConfigError` when the layer cannot be around this base. */
  readonly checkBase: ((base: BaseFacts) => void) | undefined
  /** The last stack that uses the layer begins to close. */
  drain(): void
  /**
   * The last stack that uses the layer has closed. Undefined when it holds nothing: such a layer
   * can be used again.
   */
  readonly close: (() => void | Promise<void>) | undefined
}

/** What `stack()` takes: a layer, or any plain `next => handler`. */
export type LayerOf<Request, Answer> = (next: Handler<Request, Answer>) => Handler<Request, Answer>

/** What a layer is made of. */
export interface LayerDefinition<Name extends string, Stats extends object, Request, Answer> {
  /** Key in `stats()`. */
  name: Name
  /**
   * The flow of one call: takes the handler further in, gives the handler to use in its place.
   * Called once for each stack.
   */
  wrap(next: Handler<Request, Answer>): Handler<Request, Answer>
  /** Counters since creation and gauges of now, as a fresh plain object. */
  stats?: (() => Stats) | undefined
  /** What kind of layer it is, whatever its name. @default its name */
  kind?: string | undefined
  /**
   * Kinds that are better placed inside this layer, each with what goes wrong otherwise:
   * `describe()` and a warning report it.
   */
  outside?: Readonly<Record<string, string>> | undefined
  /** What it has together with the layers of other processes: the live page tells how that is. */
  shared?: SharedState | undefined
  /**
   * Is called for each stack that is composed with the layer. What it throws, a `ConfigError`,
   * refuses the base.
   */
  checkBase?: ((base: BaseFacts) => void) | undefined
  /**
   * The last stack that uses the layer begins to close. Calls that wait should listen to
   * `context.closing` instead.
   */
  drain?: (() => void) | undefined
  /** The last stack that uses the layer has closed: free what it holds. */
  close?: (() => void | Promise<void>) | undefined
}

/**
 * Makes a layer of a `wrap` function.
 *
 * @example
 * const log = defineLayer({
 *   name: 'log',
 *   wrap: (next) => async (request, context) => {
 *     const start = performance.now()
 *     return onEnd(await next(request, context), () => console.log(performance.now() - start))
 *   },
 * })
 */
export function defineLayer<
  const Name extends string,
  Stats extends object = Record<never, never>,
  Request = unknown,
  Answer = unknown,
>(definition: LayerDefinition<Name, Stats, Request, Answer>): Layer<Name, Stats, Request, Answer> {
  const { name, wrap, stats, kind = name, outside = {}, shared } = definition
  const { checkBase, drain, close } = definition
  const hooks: LayerHooks = {
    kind,
    shared,
    outside,
    checkBase,
    drain: () => drain?.(),
    close: close && (() => close()),
  }
  const layer = (next: Handler<Request, Answer>) => wrap(next)
  Object.defineProperty(layer, 'name', { value: name })
  return Object.assign(layer, { stats: stats ?? (() => ({}) as Stats), hooks }) as unknown as Layer<
    Name,
    Stats,
    Request,
    Answer
  >
}

/** The layer's hooks; undefined for a plain `next => handler`. */
export function hooksOf(layer: object): (LayerHooks & { stats(): object }) | undefined {
  const { hooks, stats } = layer as Partial<Layer>
  return hooks === undefined || stats === undefined ? undefined : { ...hooks, stats }
}

/**
 * Where a stack, and the client, list their layers for the parts of this library that must know
 * them by kind.
 */
export const LAYERS: unique symbol = Symbol.for('blossom-stack.layers') as never

/** One layer of a stack, with its value. */
export interface LayerEntry {
  readonly name: string
  readonly kind: string
  readonly layer: object
  readonly shared: SharedState | undefined
  stats(): object
}
