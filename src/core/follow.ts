import { isThenable } from './shape.js'
import { notifyEnd, type OnEnd, onEnd, type StreamEnd } from './stream/index.js'
import type { Context, Handler, MaybePromise } from './types.js'

/**
 * Continues with an answer: synchronously unless it is a promise, which saves a promise per layer.
 * Without `failed`, a rejection passes through. Errors thrown by `ok` do not reach `failed`. (Not
 * named `then`, because `import()` treats a module that exports `then` as a promise.)
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

/** A layer's record of a call, which follows the call to the end of its answer. */
export interface Follower {
  /**
   * Called with the answer: a value, or a stream that has committed. Returns the answer to pass on.
   * Must not throw.
   */
  answered?<Answer>(answer: Answer): Answer
  /** Called when the answer has ended. */
  ended(end: StreamEnd): void
}

/**
 * Calls the next handler, then `listener` once with how its answer ended: immediately for a value
 * or a failure, at its end for a stream. Most layers need nothing else from an answer.
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
