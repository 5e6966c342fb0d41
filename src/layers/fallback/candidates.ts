import {
  type BaseFacts,
  ConfigError,
  type Context,
  Destination,
  type Handler,
  isStream,
  type MaybePromise,
  stackOf,
  streamFrom,
  streamOver,
  warn,
} from '../../core/index.js'

/** What a candidate gets of a call. */
interface Asked {
  readonly next: Handler<never, unknown>
  readonly request: unknown
  readonly context: Context
  /** Error of the previous candidate. */
  readonly error: unknown
  /** Id of the layer that asks, for `context.via`. */
  readonly via: string
}

/** A target that may answer a call. */
export interface Candidate {
  /** Position in the list, starting with 1; 0 for the requested model. */
  readonly place: number
  /** Key in the stats. */
  readonly label: string
  /** Whether it is a model of the stack's own base, so that the call's own API key is used. */
  readonly isOwn: boolean
  /** The model that this candidate uses for a request for `asked`. */
  modelFor(asked: string | undefined): string | undefined
  /** @throws ConfigError (`CONFIG`) when the base's requests cannot be sent to it */
  checkBase(layer: string, base: BaseFacts): void
  /** The request to send to it, or undefined when it cannot serve the request. */
  requestFor(request: unknown, context: Context): { readonly request: unknown } | undefined
  /** Returns its answer, or `DECLINED`. */
  ask(asked: Asked): MaybePromise<unknown>
}

/** Returned by a candidate that has no answer to such a request, which is not a failure. */
export const DECLINED: unique symbol = Symbol('declined')

/** A model, a client or a stack. */
class TargetCandidate implements Candidate {
  readonly place: number
  readonly label: string
  readonly #destination: Destination

  constructor(place: number, destination: Destination) {
    this.place = place
    this.label = destination.model ?? `candidate${place}`
    this.#destination = destination
  }

  get isOwn(): boolean {
    return !this.#destination.isElsewhere
  }

  modelFor(asked: string | undefined): string | undefined {
    return this.#destination.model ?? asked
  }

  checkBase(layer: string, base: BaseFacts): void {
    this.#destination.checkBase(layer, base)
  }

  requestFor(request: unknown, context: Context) {
    return this.#destination.requestFor(request, context)
  }

  ask({ next, request, context, via }: Asked): MaybePromise<unknown> {
    return this.#destination.ask(next, request, context, via)
  }
}

type ValueFunction = (request: unknown, context: Context, error: unknown) => unknown

/** A function that returns a value. */
class ValueCandidate implements Candidate {
  readonly place: number
  readonly label: string
  readonly isOwn = false
  readonly #valueOf: ValueFunction

  constructor(place: number, give: ValueFunction) {
    this.place = place
    this.label = `candidate${place}`
    this.#valueOf = give
  }

  modelFor(): undefined {}

  checkBase(): void {}

  requestFor(request: unknown) {
    return { request }
  }

  async ask({ request, context, error, via }: Asked): Promise<unknown> {
    const { base } = context
    // The function may call a stack with this context.
    const inward = context.derive({ via: `${context.via}${via} ` })
    const value = await this.#valueOf(request, inward, error)
    const answer = base.fromValue === undefined ? value : base.fromValue(value, request)
    if (answer === undefined && base.fromValue !== undefined) return this.#declined()
    if (isStream(answer)) return this.#committed(answer, context)
    if (base.toStream === undefined || base.streams?.(request) !== true) return answer
    const chunks = base.toStream(answer, request)
    return chunks === undefined ? this.#declined() : streamOver(chunks)
  }

  /** Waits for the stream to commit, as with a base. */
  async #committed(answer: AsyncIterable<unknown>, { base, cancel }: Context) {
    const { commits, unreadMs } = base
    const stream = streamFrom(answer, { cancel, commits, unreadMs })
    await stream.log.ready
    return stream
  }

  #declined(): typeof DECLINED {
    warn(
      `fallback: the function of candidate ${this.place} returned a value that is not a valid answer to the request, so the candidate was skipped. Return a value in the form of the answer.`,
    )
    return DECLINED
  }
}

/** The model that the request asks for. */
export const FIRST: Candidate = new TargetCandidate(0, new Destination())

/**
 * Reads the list of candidates.
 * @throws ConfigError (`CONFIG`) when an entry is not a candidate
 */
export const readCandidates = (given: readonly unknown[]): readonly Candidate[] =>
  Array.from(given, (candidate, i) => readCandidate(i + 1, candidate))

function readCandidate(place: number, given: unknown): Candidate {
  const what = `fallback: candidate ${place}`
  if (typeof given !== 'function' || stackOf(given) !== undefined)
    return new TargetCandidate(place, Destination.read('fallback', what, given))
  if ('hooks' in given)
    throw new ConfigError(`${what} is a layer. Pass a stack that contains it.`, {
      layer: 'fallback',
    })
  return new ValueCandidate(place, given as ValueFunction)
}
