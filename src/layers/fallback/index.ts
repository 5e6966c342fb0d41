import {
  type Context,
  check,
  defineLayer,
  type Layer,
  rules,
  type Target,
} from '../../core/index.js'
import { readCandidates } from './candidates.js'
import { askInTurn } from './failover.js'
import { Fallbacks } from './fallbacks.js'

/** Declared as a method, so that a function for a more specific answer type is accepted. */
interface Accept {
  accept(answer: unknown): boolean
}

/**
 * A target that may answer instead: a model name, another client or stack, or a function that
 * returns a value. If the function throws, this counts as a failure. Its `error` is that of the
 * previous candidate, or undefined when that one was skipped or its answer was rejected.
 */
export type FallbackCandidate<Request = unknown> =
  | Target
  | ((request: Request, context: Context, error: unknown) => unknown)

/** Options of `fallback()`. */
export interface FallbackOptions<Name extends string = 'fallback', Request = unknown> {
  /** The candidates, in order. Each is asked at most once per call. */
  to: readonly FallbackCandidate<Request>[]
  /**
   * Returns whether to ask another candidate after a failure, replacing the default rule.
   * `candidate` is the position in the list of the one that failed, starting with 1; 0 is the
   * requested model. Ignored after an abort by the caller.
   */
  when?: ((error: unknown, candidate: number) => boolean) | undefined
  /**
   * Returns whether a complete answer is good enough; for the client it gets the JSON body. Not
   * called for streams, which have already started. After a rejected answer the next candidate is
   * asked. If all are rejected, the call returns the last answer, and caches do not store it. Must
   * not change the answer.
   * @default every answer
   */
  accept?: Accept['accept'] | undefined
  /** The layer's name and its key in `stats()`. @default 'fallback' */
  name?: Name | undefined
}

/** Counters of `fallback()`. */
export interface FallbackStats {
  /** Calls answered by a candidate from the list. */
  readonly used: number
  /** Calls that failed, or returned a rejected answer, because no candidate was left. */
  readonly exhausted: number
  /** `used`, by the candidate's model, or by its position (`candidate2`) when it has none. */
  readonly byCandidate: Readonly<Record<string, number>>
}

/**
 * Asks another target when a call fails before its answer starts: another model, another client or
 * stack, or a function of yours. All share the call's deadline.
 *
 * By default the next candidate is asked after 401, 402, 403, 404 for a model, 408, 429, 5xx,
 * network errors, timeouts, an open circuit, a full queue, and account notices; never after 400,
 * 422, an abort by the caller, or a rejection of the content. A call with its own API key only goes
 * to other models of the same client. A candidate that fails three times in a row within 60 s is
 * skipped for 30 s, unless no other is left.
 *
 * @throws the last candidate's error, unchanged, with the earlier errors in its `cause` chain
 * @throws ConfigError (`CONFIG`) when a model is named and the base cannot change the model of a
 * request
 * @example fallback({ to: ['mistral', { client: backup, model: 'openai' }, () => 'Try again later.'] })
 * @see https://docs.litellm.ai/docs/routing for fallbacks, allowed fails and cooldowns
 */
export function fallback<const Name extends string = 'fallback', Request = unknown>(
  options: FallbackOptions<Name, Request>,
): Layer<Name, FallbackStats, Request> {
  const { to, name, when, accept } = check('fallback', options, {
    to: rules.required(
      rules.custom<readonly FallbackCandidate<Request>[], undefined>(
        'a list of at least one candidate',
        undefined,
        (value) => Array.isArray(value) && value.length > 0,
      ),
    ),
    when: rules.callback<NonNullable<FallbackOptions['when']>>(),
    accept: rules.callback<Accept['accept']>(),
    name: rules.layerName<Name>('fallback'),
  })
  const candidates = readCandidates(to)
  const fallbacks = new Fallbacks({ name, candidates, when, accept })
  return defineLayer({
    name,
    kind: 'fallback',
    outside: {
      retry: 'every retry asks all candidates. Move fallback outside.',
      hedge: 'each of the two tries asks all candidates. Move fallback outside.',
      breaker:
        'the circuit of the requested model decides for all candidates. Move fallback outside.',
      queue: 'all candidates share one slot. Move fallback outside.',
      pool: 'all candidates share one connection. Move fallback outside.',
    },
    checkBase: (base) => {
      for (const candidate of candidates) candidate.checkBase(name, base)
    },
    wrap: (next) => (request, context) => askInTurn(fallbacks, next, request, context),
    stats: () => fallbacks.stats(),
  })
}
