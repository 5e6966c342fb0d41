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

/** As a method, so that it may be written for the answers it will get. */
interface Accept {
  accept(answer: unknown): boolean
}

/**
 * Who may answer instead: a model by its name, another client or stack, or a function that gives a
 * value. The function may throw, which is a failure like any other; its `error` is that of the
 * candidate before, undefined when that one was passed over or its answer was refused.
 */
export type FallbackCandidate<Request = unknown> =
  | Target
  | ((request: Request, context: Context, error: unknown) => unknown)

/** Options of `fallback()`. */
export interface FallbackOptions<Name extends string = 'fallback', Request = unknown> {
  /** Who may answer instead, in order; each is asked once a call. */
  to: readonly FallbackCandidate<Request>[]
  /**
   * Decides instead of the default rule whether a failure is worth another candidate. `candidate`
   * is who failed: the place in the list from 1, 0 for the first model. The caller's abort never is.
   */
  when?: ((error: unknown, candidate: number) => boolean) | undefined
  /**
   * Judges each whole answer, of the client the JSON body; streams are not asked for, as they have
   * begun. After one that is refused the next candidate is asked; when all are refused the last
   * answer is handed on as it is, and no cache keeps it. It must not change the answer.
   * @default every answer is accepted
   */
  accept?: Accept['accept'] | undefined
  /** Key in `stats()`. @default 'fallback' */
  name?: Name | undefined
}

/** What `fallback()` has counted. */
export interface FallbackStats {
  /** Calls that a candidate of the list has answered. */
  readonly used: number
  /** Calls that failed, or whose answers were refused, when no candidate was left. */
  readonly exhausted: number
  /** Of `used`, by the candidate's model, else by its place: `candidate2`. */
  readonly byCandidate: Readonly<Record<string, number>>
}

/**
 * Asks somebody else when a call fails before its answer has begun: another model, another client
 * or stack, or a function of yours. All share the deadline of the call.
 *
 * Another is asked after 401, 402, 403, 404 of a model, 408, 429, 5xx, network failures, time-outs,
 * an open breaker, a full queue and notices of the account; never after 400, 422, the caller's
 * abort, or a refusal of the content. A call with a key of its own goes to other models of the same
 * client only. Who fails three times in a row within 60 s is passed over for 30 s, unless nobody
 * else is left.
 *
 * @throws what the last candidate threw, unchanged, with the errors before it in its `cause` chain
 * @throws ConfigError code `CONFIG`, when a model is named and the base cannot change the model of
 * a request
 * @example fallback({ to: ['mistral', { client: backup, model: 'openai' }, () => 'Try again later.'] })
 * @see https://docs.litellm.ai/docs/routing fallbacks, allowed fails and cooldowns
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
      retry: 'all candidates are asked before anything is repeated; put fallback outside.',
      hedge: 'each of the two tries asks all candidates; put fallback outside.',
      breaker: 'the circuit of the first model decides for all candidates; put fallback outside.',
      queue: 'all candidates are asked in one slot; put fallback outside.',
      pool: 'all candidates are asked over one connection; put fallback outside.',
    },
    checkBase: (base) => {
      for (const candidate of candidates) candidate.checkBase(name, base)
    },
    wrap: (next) => (request, context) => askInTurn(fallbacks, next, request, context),
    stats: () => fallbacks.stats(),
  })
}
