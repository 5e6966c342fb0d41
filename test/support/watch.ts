import { getEventListeners } from 'node:events'

/** What has become of a promise so far. */
export interface Watched<T> {
  state: 'pending' | 'resolved' | 'rejected'
  value?: T
  error?: unknown
}

/** Follows a promise without waiting for it; a rejection counts as handled. */
export function watch<T>(promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { state: 'pending' }
  promise.then(
    (value) => {
      watched.state = 'resolved'
      watched.value = value
    },
    (error: unknown) => {
      watched.state = 'rejected'
      watched.error = error
    },
  )
  return watched
}

/** What a promise rejects with; throws when it does not. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error
  }
  throw new Error(`Expected a rejection, got ${String(value)}.`)
}

/** What a function throws; throws when it does not. */
export function thrown(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('Expected it to throw.')
}

/** How many listen for the signal's abort. */
export const listenersOf = (signal: AbortSignal): number =>
  getEventListeners(signal, 'abort').length

/**
 * Lets everything that is due now run: all microtasks and one turn of the event loop. Needs real
 * timers.
 */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** What has become of each of them so far, in one text. */
export const states = (all: readonly Watched<unknown>[]): string =>
  all.map(({ state }) => state).join(' ')
