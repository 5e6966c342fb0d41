import { base, type Context } from '../../src/core/index.js'

/** Answers with this value after a while. */
export const later =
  <T>(ms: number, value: T) =>
  () =>
    new Promise<T>((resolve) => setTimeout(resolve, ms, value))

/** A stream that sends one chunk at each of these moments, counted from the call. */
export async function* timed(...moments: number[]) {
  let at = 0
  for (const moment of moments) {
    await later(moment - at, undefined)()
    at = moment
    yield moment
  }
}

/** A base that says of itself whether it streams. */
export const told = <A>(
  streams: boolean | undefined,
  answer: (context: Context) => A | Promise<A>,
) =>
  base(async (_: string, context: Context) => answer(context), {
    streams: streams === undefined ? undefined : () => streams,
  })
