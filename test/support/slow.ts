import type { Context } from '../../src/core/index.js'

/** Settles after a while, unless it is aborted before. */
export function settleAfter<T>(ms: number, settle: () => T, { cancel }: Context): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      try {
        resolve(settle())
      } catch (error) {
        reject(error)
      }
    }, ms)
    cancel.add({
      abort(reason) {
        clearTimeout(timer)
        reject(reason)
      },
    })
  })
}

/** A function whose n-th call does the n-th of these, and the last one from then on. */
export function calls(...doing: ((context: Context) => unknown)[]) {
  const contexts: Context[] = []
  const fn = async (_: string, context: Context): Promise<unknown> => {
    const doThis = doing[Math.min(contexts.length, doing.length - 1)]
    contexts.push(context)
    return doThis?.(context)
  }
  return { fn, contexts }
}

export const answers = (ms: number, text: unknown) => (context: Context) =>
  settleAfter(ms, () => text, context)
export const failsAfter = (ms: number, error: unknown) => (context: Context) =>
  settleAfter(
    ms,
    () => {
      throw error
    },
    context,
  )

/** A base that ends with the signal's reason and not before. */
export const heeding = (_: string, { signal }: Context): Promise<string> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
