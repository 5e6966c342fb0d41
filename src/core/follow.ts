import { isThenable } from './shape.js'
import { notifyEnd, type OnEnd, onEnd, type StreamEnd } from './stream/index.js'
import type { Context, Handler, MaybePromise } from './types.js'

/**
 * Goes on with an answer: at once when it is no promise, so that a layer costs a promise less.
 * Without `failed` a rejection passes on; what `ok` throws is not handed to `failed`. (It is not named `then`: a module that exports `then`
 * is itself taken for a promise by `import()`.)
 */
export function proceed<Answer, Result>(
  answer: MaybePromise<Answer>,
  ok: (answer: Answer) => Result,
  failed?: (error: unknown) => Result,
): Result | Promise<Awaited<Result>> {
  return isThenable(answer)
    ? (Promise.resolve(answer).then(ok, failed) as Promise<Awaited<Result>>)
    : ok(answer)
}

/** A layer's record of a call, which follows it to the end of its answer. */
export interface Follower {
  /**
   * The answer is there: a value, or a stream at its commit. Returns the answer to pass on. It must
   * not throw.
   */
  answered?<Answer>(answer: Answer): Answer
  /** The answer has ended. */
  ended(end: StreamEnd): void
}

/**
 * Calls the next handler, and `listener` once with how its answer ended: at once for a value or a
 * failure, for a stream at its end. This is the whole of what most layers do with an answer.
 */
export function follow<Request, Answer>(
  next: Handler<Request, Answer>,
  request: Request,
  context: Context,
  listener: OnEnd | Follower,
): MaybePromise<Answer> {
  let answer: MaybePromise<Answer>
  try {
    answer = next(request, context)
  } catch (error) {
    return fail(listener, error)
  }
  return isThenable(answer)
    ? Promise.resolve(answer).then(
        (value) => arrive(listener, value),
        (error) => fail(listener, error),
      )
    : arrive(listener, answer)
}

function arrive<Answer>(listener: OnEnd | Follower, answer: Answer): Answer {
  const follower = listener as Follower
  const given = follower.answered === undefined ? answer : follower.answered(answer)
  return onEnd(given, listener)
}

function fail(listener: OnEnd, error: unknown): never {
  notifyEnd(listener, { outcome: 'failed', error })
  throw error
}
