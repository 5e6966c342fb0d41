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

/** A client or a stack that a call may be sent to. Closing your stack does not close it. */
export interface TargetClient {
  describe(): LayerDescription[]
  close(options?: CloseOptions): Promise<void>
}

/** Where a call may be sent, as an object. Give `model`, `client` or both. */
export interface TargetOptions {
  /** The model to ask. @default the model of the request */
  model?: string | undefined
  /** Another client or stack. @default the one that the layer is part of */
  client?: TargetClient | undefined
  /**
   * The API paths that the model serves, such as `/v1/images/generations`. `/image` includes all
   * paths below it. The model of an embeddings request is never changed.
   * @default chat, responses, messages and completions
   */
  endpoints?: readonly string[] | undefined
}

/** Where a call may be sent: to a model, by its name, or to another client or stack. */
export type Target = string | TargetOptions | TargetClient

/** A validated target: rewrites requests for it and sends them. */
export class Destination {
  /** Undefined keeps the model of the request. */
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
   * Reads a target from a layer's options.
   * @param what start of the error message, such as `fallback: candidate 2`
   * @throws ConfigError (`CONFIG`) when it is not a target
   */
  static read(layer: string, what: string, given: unknown): Destination {
    if (typeof given === 'string' && given !== '') return new Destination({ model: given })
    const stack = stackOf(given)
    if (stack !== undefined) return new Destination({}, stack)
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      throw new ConfigError(`${what} must be ${EXPECTED}.`, { layer })
    const { client, ...options } = check<TargetOptions>(what, given, RULES)
    if (client === undefined && options.model === undefined)
      throw new ConfigError(`${what} must have a model or a client.`, { layer })
    return new Destination(options, client && stackOf(client))
  }

  /** Whether calls go to another client or stack, which pays for them itself. */
  get isElsewhere(): boolean {
    return this.#stack !== undefined
  }

  /** @throws ConfigError (`CONFIG`) when the base cannot change the model of its requests */
  checkBase(layer: string, { name, withModel }: BaseFacts): void {
    if (this.model === undefined || withModel !== undefined) return
    throw new ConfigError(
      `${layer}: cannot use the model ${JSON.stringify(this.model)} because ${name} has no withModel trait. Add withModel with base(), or pass a client or stack instead.`,
      { layer },
    )
  }

  /** The request to send to this target, or undefined when the target cannot serve it. */
  requestFor(request: unknown, context: Context): { readonly request: unknown } | undefined {
    if (this.isElsewhere && !isForAnybody(request, context)) return undefined
    if (this.model === undefined) return { request }
    const changed = context.base.withModel?.(request, this.model, this.#endpoints)
    return changed === undefined ? undefined : { request: changed }
  }

  /**
   * Sends a request to this target.
   * @param via id of the layer that sends it, for `context.via`
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

const EXPECTED = 'a model name, an object { model, client, endpoints }, a client, or a stack'

const RULES = {
  model: text(undefined),
  client: custom<TargetClient, undefined>(
    'a client or a stack',
    undefined,
    (value) => stackOf(value) !== undefined,
  ),
  endpoints: custom<readonly string[], undefined>(
    'a list of paths, each starting with "/"',
    undefined,
    (value) =>
      Array.isArray(value) && value.every((path) => typeof path === 'string' && path[0] === '/'),
  ),
}

/**
 * Whether another account could give this answer. A request without a model or a key, such as one
 * for the balance of an account, only makes sense at the account it was made for.
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

/** Without the API key, address or pool member of the outer stack. */
const NOWHERE = {}

/**
 * The other stack's layers may have the same names, so it gets its own map of notes. Afterwards the
 * call's notes receive what they lack, and who answered.
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
  // Count it, because the call may run there. An error that it refused the call has `refused` set.
  context.countAttempt()
  try {
    const answer = await stack(request, inward)
    // The limits of the other stack's upstream do not apply here.
    meta.delete(UPSTREAM_PAUSE)
    takeNotes(context.meta, meta, { overwrite: false })
    if (meta.has(ANSWERED_BY)) context.meta.set(ANSWERED_BY, meta.get(ANSWERED_BY))
    return answer
  } catch (error) {
    addAttempts(context.meta, meta)
    throw error
  }
}
