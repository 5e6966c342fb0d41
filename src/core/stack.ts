import { type Base, baseHandler, factsOf, withTraitsOf } from './base.js'
import { openCall } from './call/open-call.js'
import { Running } from './call/running.js'
import { check, duration } from './check.js'
import { ClosedError, ConfigError } from './errors.js'
import { hooksOf, LAYERS, type LayerEntry } from './layer.js'
import { AnswerStream, isStream } from './stream/index.js'
import { Alarms } from './time/alarms.js'
import { Cancel } from './time/cancel.js'
import type {
  CallOptions,
  CloseOptions,
  Context,
  Handed,
  Handler,
  LayerDescription,
  LayerHooks,
  LayerOf,
  Stack,
} from './types.js'
import { runHook, warn } from './warn.js'

/** How long a cut call may take to give back what it holds before the layers are closed over it. */
const CUT_GRACE_MS = 1_000

interface Entry {
  readonly name: string
  readonly layer: object
  readonly hooks: (LayerHooks & { stats(): object }) | undefined
}

/** How many open stacks use a layer: it closes with the last of them. */
const users = new WeakMap<object, number>()

/** Layers that have been closed: what they held is gone. */
const ended = new WeakSet<object>()

/**
 * Puts layers around a function of one argument; the first layer listed sees the request first and
 * the answer last.
 *
 * The result is called like the function, with call options beside the request: `ask(request, {
 * signal, timeoutMs, … })`. A stream comes out as an async generator. `deadline` and `timeoutMs` of
 * a call are kept with or without a `timeout` layer.
 *
 * @throws ConfigError when the base or a layer is no function, or one layer value is listed twice
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
 * Composes a stack of groups of layers, the group added last outermost; names are numbered in the
 * order of adding.
 * @internal
 */
export function composeStack<Request, Answer, Layers extends readonly unknown[]>(
  fn: Base<Request, Answer>,
  groups: readonly (readonly LayerOf<Request, Answer>[])[],
): Stack<Request, Answer, Layers> {
  if (typeof fn !== 'function')
    throw new ConfigError('stack: the base must be a function of one argument, the request.')
  const facts = factsOf(fn)
  const entries = nameLayers(groups)
  for (const { name, layer, hooks } of entries) {
    if (!ended.has(layer) || hooks?.close === undefined) continue
    throw new ConfigError(
      `stack: the ${name} layer was closed with its last stack; make a new one.`,
      { layer: name },
    )
  }
  let handler = baseHandler(fn, facts)
  for (let i = entries.length - 1; i >= 0; i--) handler = wrapped(entries[i]!, handler)
  for (const { layer } of entries) users.set(layer, (users.get(layer) ?? 0) + 1)
  const notes = orderNotes(entries)
  for (const note of notes.values()) warn(note)

  const running = new Running()
  const closing = new Cancel()
  let closed: Promise<void> | undefined

  const alarms = new Alarms()

  const invoke = (request: Request, options?: CallOptions): Promise<Handed<Answer>> =>
    new Promise((resolve, reject) => {
      if (closing.aborted) return reject(closing.reason)
      const call = openCall(facts, closing, running, alarms, options, reject)
      if (call === undefined) return
      const failed = (error: unknown) => {
        call.end({ outcome: 'failed', error })
        reject(error)
      }
      const begun = (answer: Answer) => {
        if (!isStream(answer)) {
          call.end()
          return resolve(answer as Handed<Answer>)
        }
        let stream: AnswerStream<unknown>
        try {
          stream = answer instanceof AnswerStream ? answer : AnswerStream.from(answer)
        } catch (error) {
          return failed(error)
        }
        stream.obey(call.context.cancel)
        stream.expectReader(facts.unreadMs)
        call.trace?.handOut(stream.ended === undefined || stream.buffered > 0)
        stream.onEnd((end) => call.end(end))
        resolve(stream as unknown as Handed<Answer>)
      }
      try {
        // A plain layer may answer without a promise.
        const { trace } = call
        const answer =
          trace === undefined
            ? handler(request, call.context)
            : trace.run(() => handler(request, call.context))
        Promise.resolve(answer).then(begun, failed)
      } catch (error) {
        failed(error)
      }
    })

  const close = (options?: CloseOptions): Promise<void> => {
    const { timeoutMs } = check<{ timeoutMs: number }>('close', options, {
      timeoutMs: duration(30_000, { min: 0 }),
    })
    closed ??= shut(timeoutMs)
    return closed
  }

  const shut = async (timeoutMs: number): Promise<void> => {
    const last = entries.filter(({ layer }) => {
      const left = (users.get(layer) ?? 1) - 1
      users.set(layer, left)
      if (left === 0) ended.add(layer)
      return left === 0
    })
    closing.abort(new ClosedError())
    for (const { hooks } of last) if (hooks) runHook("A layer's drain()", () => hooks.drain())
    if (!(await running.emptied(timeoutMs))) {
      running.cut(
        new ClosedError(`The stack was closed and the call was not done within ${timeoutMs} ms.`, {
          refused: false,
        }),
      )
      await running.emptied(CUT_GRACE_MS)
    }
    const closings = await Promise.allSettled(last.map(async ({ hooks }) => hooks?.close?.()))
    for (const closing of closings) if (closing.status === 'rejected') throw closing.reason
  }

  return withTraitsOf(
    Object.assign(invoke as Stack<Request, Answer, Layers>, {
      stats: () =>
        Object.fromEntries(
          entries.flatMap(({ name, hooks }) => (hooks ? [[name, hooks.stats()]] : [])),
        ) as never,
      describe: () => entries.map((entry) => describeLayer(entry, notes.get(entry))),
      close,
      [Symbol.asyncDispose]: () => close(),
      [LAYERS]: () =>
        entries.flatMap(({ name, layer, hooks }): LayerEntry[] =>
          hooks ? [{ name, kind: hooks.kind, layer, stats: hooks.stats }] : [],
        ),
    }),
    fn,
  )
}

function nameLayers(groups: readonly (readonly object[])[]): Entry[] {
  const taken = new Set<string>()
  const seen = new Set<object>()
  let entries: Entry[] = []
  for (const group of groups) {
    const added = group.map((layer): Entry => {
      if (typeof layer !== 'function')
        throw new ConfigError(
          'stack: a layer must be a function from handler to handler; call its factory, as in retry().',
        )
      const { name: given } = layer as { name?: string }
      const wanted = given || 'layer'
      if (seen.has(layer))
        throw new ConfigError(
          `stack: the same ${wanted} layer is listed twice; make a second one.`,
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
  if (typeof handler !== 'function')
    throw new ConfigError(
      `stack: the ${name} layer must give a handler, a function of the request and the context.`,
      { layer: name },
    )
  return handler
}

/** What is odd about the order, by the layer that would be better placed further out. */
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
