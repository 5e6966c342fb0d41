import { Timer } from './timer.js'

/**
 * Returns the result of an operation, or of `late()` when the operation takes longer than `ms`. The
 * operation then continues, and its result is ignored.
 */
export async function inTime<T, Late>(
  operation: () => Promise<T>,
  ms: number,
  late: () => Late,
): Promise<T | Late> {
  let timer: Timer | undefined
  try {
    return await Promise.race([
      operation(),
      new Promise<Late>((resolve) => {
        timer = new Timer(ms, () => resolve(late()))
      }),
    ])
  } finally {
    timer?.stop()
  }
}
