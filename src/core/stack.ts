import { type Base, baseHandler, factsOf, withTraitsOf } from './base.js'
import { Call } from './call/call.js'
import { Running } from './call/running.js'
import type { StackScope } from './call/settings.js'
import { check, duration, show } from './check.js'
import { ClosedError, ConfigError } from './errors.js'
import type { EventListener } from './events/index.js'
import { LISTEN, Listeners } from './events/listeners.js'
import { hooksOf, LAYERS, type LayerEntry, type LayerHooks, type LayerOf } from './layer.js'
import { STACK } from './nested.js'
import { processWide } from './process-wide.js'
import type { CloseOptions, LayerDescription, Stack } from './stack-types.js'
import { Cancel } from './time/cancel.js'
import type { CallOptions, Context, Handler } from './types.js'
import { runHook, warn } from './warn.js'

/** How long aborted calls may take to clean up before the layers are closed. */
const CUT_GRACE_MS = 1_000

interface Entry {
  readonly name: string
  readonly layer: object
  readonly hooks: (LayerHooks & { stats(): object }) | undefined
}

/** Shared by all copies of the library, because one layer may be in stacks of two of them. */
const { users, ended } = processWide('layers-in-use', () => ({
  /** Number of open stacks per layer. A layer closes with the last of them. */
  users: new WeakMap<object, number>(),
  /** Closed layers, which have released what they held. */
  ended: new WeakSet<object>(),
}))

/**
 * Wraps a function of one argument in layers. The first layer listed sees the request first and the
 * answer last.
 *
 * Call the result like the function, with call options as a second argument: `ask(request, {
 * signal, timeoutMs, … })`. A stream is returned as an async generator. `deadline` and `timeoutMs`
 * of a call apply with or without a `timeout` layer.
 *
 * @throws ConfigError (`CONFIG`) when the base or a layer is not a function, or a layer is listed
 * twice
 * @example
 * const ask = stack(fetchAnswer, timeout({ ms: 5_000 }), retry(), queue({ concurrency: 5 }))
 * const answer = await ask('Hello')
 */
export function stack<
  Request,
  Result,
  const Layers extends readonly LayerOf<Request, Awaited<Result>>[],
>(
  fn: (request: Request, context: Context) => Result,
  ...layers: Layers
): Stack<Request, Awaited<Result>, Layers> {
  return composeStack(fn as Base<Request, Awaited<Result>>, [layers])
}

/**
 * Composes a stack from groups of layers. The group added last is outermost. Repeated names are
 * numbered in the order of adding.
 * @internal
 */
export function composeStack<Request, Answer, Layers extends readonly unknown[]>(
  fn: Base<Request, Answer>,
  groups: readonly (readonly LayerOf<Request, Answer>[])[],
): Stack<Request, Answer, Layers> {
  if (typeof fn !== 'function')
    throw new ConfigError('stack: the first argument must be a function that takes a request.')
  const composed = new ComposedStack(fn, groups)
  const stack: Stack<Request, Answer, Layers> = Object.assign(composed.invoke as never, {
    stats: () => composed.stats() as never,
    describe: () => composed.describe(),
    close: (options?: CloseOptions) => composed.close(options),
    [Symbol.asyncDispose]: () => composed.close(),
    [LAYERS]: () => composed.layers(),
    [STACK]: () => stack,
    [LISTEN]: (listener: EventListener) => composed.listen(listener),
  })
  return withTraitsOf(stack, fn)
}

/** A base with its layers: starts calls and closes. */
class ComposedStack<Request, Answer> {
  readonly #entries: readonly Entry[]
  readonly #notes: ReadonlyMap<Entry, string>
  readonly #scope: StackScope
  readonly #handler: Handler<Request, Answer>
  #closed: Promise<void> | undefined

  constructor(fn: Base<Request, Answer>, groups: readonly (readonly object[])[]) {
    const base = factsOf(fn)
    const entries = nameLayers(groups)
    for (const entry of entries) {
      refuseClosed(entry)
      entry.hooks?.checkBase?.(base)
    }
    this.#handler = entries.reduceRight<Handler<Request, Answer>>(
      (next, entry) => wrapped(entry, next),
      baseHandler(fn, base),
    )
    for (const { layer } of entries) users.set(layer, (users.get(layer) ?? 0) + 1)
    this.#entries = entries
    this.#notes = orderNotes(entries)
    for (const note of this.#notes.values()) warn(note)
    this.#scope = {
      base,
      closing: new Cancel(),
      running: new Running(),
      listeners: new Listeners(base.onEvent),
    }
  }

  readonly invoke = (request: Request, options?: CallOptions): Promise<unknown> =>
    new Promise((resolve, reject) => {
      Call.begin(this.#scope, this.#handler, request, options, { resolve, reject })
    })

  stats(): Record<string, object> {
    return Object.fromEntries(
      this.#entries.flatMap(({ name, hooks }) => (hooks ? [[name, hooks.stats()]] : [])),
    )
  }

  describe(): LayerDescription[] {
    return this.#entries.map((entry) => describeLayer(entry, this.#notes.get(entry)))
  }

  listen(listener: EventListener): () => void {
    return this.#scope.listeners.add(listener)
  }

  layers(): LayerEntry[] {
    return this.#entries.flatMap(({ name, layer, hooks }): LayerEntry[] =>
      hooks ? [{ name, kind: hooks.kind, layer, shared: hooks.shared, stats: hooks.stats }] : [],
    )
  }

  /** Returns the same promise each time. */
  close(options?: CloseOptions): Promise<void> {
    const { timeoutMs } = check<{ timeoutMs: number }>('close', options, {
      timeoutMs: duration(30_000, { min: 0 }),
    })
    this.#closed ??= this.#shut(timeoutMs)
    return this.#closed
  }

  async #shut(timeoutMs: number): Promise<void> {
    const last = this.#entries.filter(isLastUse)
    const { closing, running } = this.#scope
    closing.abort(new ClosedError())
    for (const { hooks } of last) if (hooks) runHook("A layer's drain()", () => hooks.drain())
    if (!(await running.emptied(timeoutMs))) {
      running.cut(
        new ClosedError(
          `The call was aborted: the stack was closed, and the call did not finish within ${timeoutMs} ms.`,
          { refused: false },
        ),
      )
      await running.emptied(CUT_GRACE_MS)
    }
    const closings = await Promise.allSettled(last.map(async ({ hooks }) => hooks?.close?.()))
    for (const ending of closings) if (ending.status === 'rejected') throw ending.reason
  }
}

function refuseClosed({ name, layer, hooks }: Entry): void {
  if (!ended.has(layer) || hooks?.close === undefined) return
  throw new ConfigError(
    `stack: the ${name} layer is closed because its last stack was closed. Create a new layer.`,
    { layer: name },
  )
}

/** Removes one use of the layer. Returns whether it was the last, so that the layer must close. */
function isLastUse({ layer }: Entry): boolean {
  const left = (users.get(layer) ?? 1) - 1
  users.set(layer, left)
  if (left === 0) ended.add(layer)
  return left === 0
}

const labelOf = ({ name }: { name?: string }): string => (name ? `${name} layer` : 'unnamed layer')

function notALayer(given: unknown): ConfigError {
  const got = show(given)
  const hint = got === 'an array' ? ' Spread a list of layers: stack(fn, ...layers).' : ''
  return new ConfigError(
    `stack: a layer must be a function, such as retry() returns, got ${got}.${hint}`,
  )
}

function nameLayers(groups: readonly (readonly object[])[]): Entry[] {
  const taken = new Set<string>()
  const seen = new Set<object>()
  let entries: Entry[] = []
  for (const group of groups) {
    const added = group.map((layer): Entry => {
      if (typeof layer !== 'function') throw notALayer(layer)
      const { name: given } = layer as { name?: string }
      const wanted = given || 'layer'
      if (seen.has(layer))
        throw new ConfigError(
          `stack: the same ${labelOf(layer)} is listed twice. Create a second one.`,
          { layer: wanted },
        )
      seen.add(layer)
      let name = wanted
      for (let n = 2; taken.has(name); n++) name = `${wanted}${n}`
      taken.add(name)
      return { name, layer, hooks: hooksOf(layer) }
    })
    entries = [...added, ...entries]
  }
  return entries
}

function wrapped<Request, Answer>(
  { name, layer }: Entry,
  next: Handler<Request, Answer>,
): Handler<Request, Answer> {
  const handler = (layer as LayerOf<Request, Answer>)(next)
  if (typeof handler !== 'function') {
    // The name in `stats()` shows the place of a layer without a name of its own.
    const which = (layer as { name?: string }).name ? labelOf(layer) : `${labelOf(layer)} (${name})`
    throw new ConfigError(
      `stack: the ${which} must return a handler, a function (request, context).`,
      { layer: name },
    )
  }
  return handler
}

/** Warnings about the order, keyed by the layer that belongs further out. */
function orderNotes(entries: readonly Entry[]): Map<Entry, string> {
  const notes = new Map<Entry, string>()
  entries.forEach((inner, i) => {
    for (const outer of entries.slice(0, i)) {
      if (
        !outer.hooks ||
        !inner.hooks ||
        !Object.hasOwn(inner.hooks.outside, outer.hooks.kind) ||
        notes.has(inner)
      )
        continue
      notes.set(
        inner,
        `${inner.name} is inside ${outer.name}: ${inner.hooks.outside[outer.hooks.kind]}`,
      )
    }
  })
  return notes
}

function describeLayer({ name, hooks }: Entry, note: string | undefined): LayerDescription {
  const stats = hooks?.stats() ?? {}
  return note === undefined ? { name, stats } : { name, stats, note }
}
