import { afterEach } from 'vitest'

interface Closable {
  close(): unknown
}

/**
 * Returns a function that takes what has to be closed at the end of the test. Called after
 * `useFakeTimers()`, it closes before the timers are counted.
 */
export function closedAtEnd(): <One extends Closable>(one: One) => One {
  const opened: Closable[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.close()))
  })
  return (one) => {
    opened.push(one)
    return one
  }
}
