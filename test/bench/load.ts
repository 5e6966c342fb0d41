import { CPU, median, type Sample } from './table.js'

let asked = 0

/** A prompt that nobody has asked before, so that every call is a miss. */
export const freshPrompt = (): string => `Hello ${asked++}`

/**
 * Keeps `width` pieces of work going for `ms`; gives what they counted a second, and the CPU time
 * of this process for each.
 */
export async function perSecond(
  width: number,
  ms: number,
  work: () => Promise<number>,
): Promise<Sample> {
  let done = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  const until = start + ms
  const worker = async () => {
    do {
      const count = await work()
      done += count
    } while (performance.now() < until)
  }
  await Promise.all(Array.from({ length: width }, worker))
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  return { value: done / seconds, more: { [CPU]: (user + system) / done } }
}

/**
 * Does `work` over and over for `ms`, one after the other; gives the microseconds each took, and
 * those of CPU time, which a busy machine changes less.
 */
export async function microseconds(
  ms: number,
  work: (i: number) => Promise<unknown>,
): Promise<Extract<Sample, object>> {
  let done = 0
  const cpu = process.cpuUsage()
  const start = performance.now()
  const until = start + ms
  do {
    for (const end = done + 200; done < end; done++) await work(done)
    // As in a server: what waits for the next turn of the event loop gets it.
    await new Promise(setImmediate)
  } while (performance.now() < until)
  const took = performance.now() - start
  const { user, system } = process.cpuUsage(cpu)
  return { value: (took / done) * 1_000, more: { [CPU]: (user + system) / done } }
}

/** The median of what `work` counts, one after the other for `ms`. */
export async function typical(ms: number, work: () => Promise<number>): Promise<number> {
  const figures: number[] = []
  const until = performance.now() + ms
  do figures.push(await work())
  while (performance.now() < until)
  return median(figures)
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))
