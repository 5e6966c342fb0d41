/** What the whole suite has seen, for its last line. */
export const tally = {
  /** Faults tried. */
  faults: 0,
  /** Calls made, and those of them that have settled. */
  calls: 0,
  settled: 0,
  /** Requests that reached an upstream. */
  requests: 0,
  /** Attempts that began and never ended. */
  endless: 0,
  /** Requests beyond the attempts of their call or after its end, and attempts that ended twice. */
  doubled: 0,
  /**
   * Slots, connections and shared calls still held by a stack at rest, requests and connections
   * left open upstream.
   */
  leaked: 0,
}

export const summaryOf = ({
  faults,
  calls,
  settled,
  requests,
  endless,
  doubled,
  leaked,
}: typeof tally): string =>
  `${faults} faults, ${calls} calls, ${requests} upstream requests: ${calls - settled + endless} lost, ${doubled} doubled, ${leaked} leaked`

/** The clock of the test's patience, which no fake clock moves. */
const later = setTimeout

/**
 * Waits until it is so; whether it came to be. The limit is far beyond what a busy machine needs.
 */
export async function became(condition: () => boolean, ms = 5_000): Promise<boolean> {
  const since = process.hrtime.bigint()
  while (!condition()) {
    if (Number(process.hrtime.bigint() - since) / 1e6 > ms) return false
    await new Promise((resolve) => later(resolve, 2))
  }
  return true
}
