import { isError, isPromise, isThenable } from './shape.js'

const warned = new Set<string>()

/**
 * Emits a process warning (`process.on('warning')`), by default once per text. For problems that
 * must not fail a call.
 */
export function warn(message: string, { once = true }: { once?: boolean } = {}): void {
  if (once) {
    if (warned.has(message)) return
    // Limited, because texts may contain names that users choose.
    if (warned.size < 1000) warned.add(message)
  }
  process.emitWarning(message, { type: 'BlossomStackWarning' })
}

/**
 * Runs a user's callback. An error it throws becomes a warning, so that the call is not affected.
 */
export function runHook(name: string, hook: () => unknown): void {
  try {
    const result = hook()
    watchHook(name, result)
  } catch (error) {
    hookFailed(name, error)
  }
}

/** Turns the rejection of an async callback into a warning as well. */
export function watchHook(name: string, result: unknown): void {
  if (isPromise(result)) result.catch((error: unknown) => hookFailed(name, error))
}

/**
 * Returns the result of a user's callback, which must not be a promise: a promise would count as
 * true, and nobody would handle its rejection.
 * @throws TypeError when it is a promise
 */
export function atOnce<T>(answer: T): T {
  if (!isThenable(answer)) return answer
  if (isPromise(answer)) answer.catch(() => {})
  throw new TypeError('A callback must return its result synchronously, not a promise.')
}

/** Warns that a user's callback threw. */
export function hookFailed(name: string, error: unknown): void {
  // Only the error's name, because its message may contain what a log must not.
  warn(`${name} threw ${isError(error) ? error.name : typeof error}. The call continued.`)
}
