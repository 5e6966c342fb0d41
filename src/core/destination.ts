import { addAttempts, takeNotes } from './call/notes.js'
import { check, custom, text } from './check.js'
import { ConfigError } from './errors.js'
import { type NestedStack, stackOf } from './nested.js'
import type { CloseOptions, LayerDescription } from './stack-types.js'
import type { BaseFacts } from './traits.js'
import {
  ANSWERED_BY,
  type Context,
  type Handler,
  type MaybePromise,
  UPSTREAM_PAUSE,
} from './types.js'

/** A client, or a stack, to which a call may go. It is never closed there. */
export interface TargetClient {
  describe(): LayerDescription[]
  close(options?: CloseOptions): Promise<void>
}

/** Where a call may go, as an object. At least one of `model` and `client`. */
export interface TargetOptions {
  /** The model to ask. @default the one that the request asks for */
  model?: string | undefined
  /** Another client, or a stack. @default what the layer is around */
  client?: TargetClient | undefined
  /**
   * The addresses that the model serves, such as `/v1/images/generations`; `/image` stands for all
   * below it. Embeddings never change their model.
   * @default chat, responses, messages and completions
   */
  endpoints?: readonly string[] | undefined
}

/** Where a call may go: to a model by its name, or to another client or stack. */
export type Target = string | TargetOptions | TargetClient

/** A target, read: what becomes of a request there, and how it is asked. */
export class Destination {
  /** Undefined: the model that the request asks for. */
  readonly model: string | undefined
  readonly #endpoints: readonly string[] | undefined
  readonly #stack: (() => NestedStack) | undefined

  constructor(
    { model, endpoints }: Pick<TargetOptions, 'model' | 'endpoints'> = {},
    stack?: (() => NestedStack) | undefined,
  ) {
    this.model = model
    this.#endpoints = endpoints
    this.#stack = stack
  }

  /**
   * Reads what a user has given.
   * @param what the start of the sentence, such as `fallback: candidate 2`
   * @throws ConfigError when it is no target
   */
  static read(layer: string, what: string, given: unknown): Destination {
    if (typeof given === 'string' && given !== '') return new Destination({ model: given })
    const stack = stackOf(given)
    if (stack !== undefined) return new Destination({}, stack)
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      throw new ConfigError(`${what} must be ${EXPECTED}.`, { layer })
    const { client, ...options } = check<TargetOptions>(what, given, RULES)
    if (client === undefined && options.model === undefined)
      throw new ConfigError(`${what} must name a model or a client.`, { layer })
    return new Destination(options, client && stackOf(client))
  }

  /** Whether it is another client or stack: it pays for itself. */
  get isElsewhere(): boolean {
    return this.#stack !== undefined
  }

  /** @throws ConfigError when the base cannot change the model of its requests */
  checkBase(layer: string, { name, withModel }: BaseFacts): void {
    if (this.model === undefined || withModel !== undefined) return
    throw new ConfigError(
      `${layer}: it names the model ${JSON.stringify(this.model)}, but ${name} has no trait withModel; state it in base(), or give a stack.`,
      { layer },
    )
  }

  /** The request as it is asked for there; undefined when it cannot be. */
  requestFor(request: unknown, context: Context): { readonly request: unknown } | undefined {
    if (this.isElsewhere && !isForAnybody(request, context)) return undefined
    if (this.model === undefined) return { request }
    const changed = context.base.withModel?.(request, this.model, this.#endpoints)
    return changed === undefined ? undefined : { request: changed }
  }

  /**
   * Asks there.
   * @param via the id of the layer that asks, for `context.via`
   */
  ask(
    next: Handler<never, unknown>,
    request: unknown,
    context: Context,
    via: string,
  ): MaybePromise<unknown> {
    return this.#stack === undefined
      ? next(request as never, context)
      : askStack(this.#stack(), request, context, via)
  }
}

const EXPECTED =
  "a model's name, an object { model, client, endpoints }, a client, or what stack() returns"

const RULES = {
  model: text(undefined),
  client: custom<TargetClient, undefined>(
    'a client or a stack',
    undefined,
    (value) => stackOf(value) !== undefined,
  ),
  endpoints: custom<readonly string[], undefined>(
    'a list of paths, each beginning with "/"',
    undefined,
    (value) =>
      Array.isArray(value) && value.every((path) => typeof path === 'string' && path[0] === '/'),
  ),
}

/**
 * Whether somebody else could give this answer. What has neither a model nor an identity, such as
 * the balance of an account, belongs to whom it was asked of.
 */
function isForAnybody(request: unknown, context: Context): boolean {
  const { model } = context.base
  if (model === undefined || model(request) !== undefined) return true
  try {
    return context.keyOf(request, 'cache') !== undefined
  } catch {
    return false
  }
}

/** No key, address or member of ours. */
const NOWHERE = {}

/**
 * Its layers may have the names of ours, so it has notes of its own; of them ours get what they do
 * not have, and who answered.
 */
async function askStack(
  stack: NestedStack,
  request: unknown,
  context: Context,
  via: string,
): Promise<unknown> {
  const meta = new Map<string, unknown>()
  const inward = context.derive({
    meta,
    transport: NOWHERE,
    elsewhere: [],
    via: `${context.via}${via} `,
  })
  // What it refuses is marked so; of all else a layer here may think that it ran.
  context.countAttempt()
  try {
    const answer = await stack(request, inward)
    // Its upstream's limits are not ours.
    meta.delete(UPSTREAM_PAUSE)
    takeNotes(context.meta, meta, { overwrite: false })
    if (meta.has(ANSWERED_BY)) context.meta.set(ANSWERED_BY, meta.get(ANSWERED_BY))
    return answer
  } catch (error) {
    addAttempts(context.meta, meta)
    throw error
  }
}
