import { Timer } from './timer.js'

/**
 * What an operation gives, or what `late` gives when it takes longer than `ms`; the operation goes
 * on then, and nobody hears of it.
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
