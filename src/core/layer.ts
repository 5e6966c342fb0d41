import type { SharedState } from './shared-state/index.js'
import type { BaseFacts } from './traits.js'
import type { Handler } from './types.js'

/**
 * A layer: a function from handler to handler, with a name and stats. A layer typed for certain
 * requests or answers is a type error in a stack of others.
 */
export interface Layer<
  Name extends string = string,
  Stats extends object = object,
  Request = unknown,
  Answer = unknown,
> {
  <R extends Request, A extends Answer>(next: Handler<R, A>): Handler<R, A>
  /** The layer's key in `stats()`. */
  readonly name: Name
  /** Counters since creation and current gauges, as a new plain object. */
  stats(): Stats
  /** @internal */
  readonly hooks: LayerHooks
}

/** What a stack needs from a layer, apart from its function. */
export interface LayerHooks {
  /** The kind of layer, independent of its name. */
  readonly kind: string
  /** State that the layer shares with other processes. */
  readonly shared: SharedState | undefined
  /** Kinds of layers that belong inside this one, each with the reason. */
  readonly outside: Readonly<Record<string, string>>
  /** Throws a `ConfigError` when the layer does not work with this base. */
  readonly checkBase: ((base: BaseFacts) => void) | undefined
  /** Called when the last stack that uses the layer starts to close. */
  drain(): void
  /**
   * Called when the last stack that uses the layer has closed. Undefined for a layer that holds
   * nothing and can be used again.
   */
  readonly close: (() => void | Promise<void>) | undefined
}

/** What `stack()` accepts: a layer, or any function from handler to handler. */
export type LayerOf<Request, Answer> = (next: Handler<Request, Answer>) => Handler<Request, Answer>

/** The definition of a layer, for `defineLayer()`. */
export interface LayerDefinition<Name extends string, Stats extends object, Request, Answer> {
  /** The layer's key in `stats()`. */
  name: Name
  /**
   * Receives the next inner handler and returns the handler that replaces it. Called once per
   * stack.
   */
  wrap(next: Handler<Request, Answer>): Handler<Request, Answer>
  /** Returns counters since creation and current gauges, as a new plain object. */
  stats?: (() => Stats) | undefined
  /** The kind of layer, independent of its name. @default `name` */
  kind?: string | undefined
  /**
   * Kinds of layers that belong inside this one, each with what goes wrong otherwise. A stack in
   * the wrong order shows that text in a warning and in `describe()`.
   */
  outside?: Readonly<Record<string, string>> | undefined
  /** State that the layer shares with other processes. The gateway's live page shows its health. */
  shared?: SharedState | undefined
  /**
   * Checks the base of each stack that uses the layer. Throw a `ConfigError` to reject the base.
   */
  checkBase?: ((base: BaseFacts) => void) | undefined
  /**
   * Called when the last stack that uses the layer starts to close. To end waiting calls, listen to
   * `context.closing` instead.
   */
  drain?: (() => void) | undefined
  /** Called when the last stack that uses the layer has closed. Release what the layer holds. */
  close?: (() => void | Promise<void>) | undefined
}

/**
 * Creates a layer from a `wrap` function.
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

/** The layer's hooks; undefined for a plain function. */
export function hooksOf(layer: object): (LayerHooks & { stats(): object }) | undefined {
  const { hooks, stats } = layer as Partial<Layer>
  return hooks === undefined || stats === undefined ? undefined : { ...hooks, stats }
}

/**
 * The method of a stack or client that lists its layers, for parts of this library that must find
 * layers by kind.
 */
export const LAYERS: unique symbol = Symbol.for('blossom-stack.layers') as never

/** One layer of a stack. */
export interface LayerEntry {
  readonly name: string
  readonly kind: string
  readonly layer: object
  readonly shared: SharedState | undefined
  stats(): object
}
