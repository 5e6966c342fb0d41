import { CPU, median, type Sample } from './table.js'

let asked = 0

/** A prompt that nobody has asked before, so that every call is a miss. */
export const freshPrompt = (): string => `Hello ${asked++}`

/** Microseconds of CPU time since a process started. */
export type CpuClock = () => Promise<number> | number

const ownCpu: CpuClock = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** Keeps `width` pieces of work going for `ms`. Returns the sum of what they counted. */
export async function keepGoing(
  width: number,
  ms: number,
  work: () => Promise<number>,
): Promise<number> {
  let done = 0
  const until = performance.now() + ms
  const worker = async () => {
    do {
      const count = await work()
      done += count
    } while (performance.now() < until)
  }
  await Promise.all(Array.from({ length: width }, worker))
  return done
}

/** What `load` counts a second, and the CPU time for each of them. */
export async function rated(load: () => Promise<number>, cpu: CpuClock = ownCpu): Promise<Rated> {
  const cpuBefore = await cpu()
  const start = performance.now()
  const done = await load()
  const seconds = (performance.now() - start) / 1_000
  return { value: done / seconds, more: { [CPU]: ((await cpu()) - cpuBefore) / done } }
}

interface Rated extends Sample {
  readonly more: Readonly<Record<typeof CPU, number>>
}

/** What `width` pieces of work count a second in `ms`. */
export const perSecond = (
  width: number,
  ms: number,
  work: () => Promise<number>,
  cpu?: CpuClock,
): Promise<Rated> => rated(() => keepGoing(width, ms, work), cpu)

/** The microseconds of one call, one after the other for `ms`; wall clock and CPU time. */
export async function microseconds(
  ms: number,
  call: (i: number) => Promise<unknown>,
): Promise<Rated> {
  let i = 0
  const { value, more } = await perSecond(1, ms, async () => {
    for (const end = i + 200; i < end; i++) await call(i)
    // As in a server: what waits for the next turn of the event loop gets it.
    await new Promise(setImmediate)
    return 200
  })
  return { value: 1e6 / value, more }
}

/** The median of what `work` measures, one after the other for `ms`. */
export async function typical(ms: number, work: () => Promise<number>): Promise<number> {
  const figures: number[] = []
  const until = performance.now() + ms
  do figures.push(await work())
  while (performance.now() < until)
  return median(figures)
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))
