import { isError, isPromise, isThenable } from './shape.js'

const warned = new Set<string>()

/**
 * Emits a process warning (`process.on('warning')`), by default once per text: the one place that
 * reports what must not fail a call.
 */
export function warn(message: string, { once = true }: { once?: boolean } = {}): void {
  if (once) {
    if (warned.has(message)) return
    // Bounded, as texts may carry names that users choose.
    if (warned.size < 1000) warned.add(message)
  }
  process.emitWarning(message, { type: 'BlossomStackWarning' })
}

/**
 * Runs a user's callback whose failure must not touch the call: what it throws becomes a warning.
 */
export function runHook(name: string, hook: () => unknown): void {
  try {
    const result = hook()
    watchHook(name, result)
  } catch (error) {
    hookFailed(name, error)
  }
}

/** What an async hook rejects with becomes a warning as well. */
export function watchHook(name: string, result: unknown): void {
  if (isPromise(result)) result.catch((error: unknown) => hookFailed(name, error))
}

/**
 * What a user's callback has answered. It must answer at once: a promise would pass for a yes, and
 * its rejection would be nobody's to handle.
 * @throws TypeError when it is a promise
 */
export function atOnce<T>(answer: T): T {
  if (!isThenable(answer)) return answer
  if (isPromise(answer)) answer.catch(() => {})
  throw new TypeError('A callback must return its answer at once, not a promise.')
}

/** Warns that a user's callback threw. */
export function hookFailed(name: string, error: unknown): void {
  // Only the kind of error: its message may hold what a log must not.
  warn(`${name} threw ${isError(error) ? error.name : typeof error}; the call went on.`)
}
