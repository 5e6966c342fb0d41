/** What a soak counts. */
export interface Counts {
  calls: number
  /** Calls that have neither answered nor failed. */
  open: number
  /** By code; `ok`, `left` and `aborted` beside the errors' own. */
  readonly outcomes: Map<string, number>
  /** Answers that ended as if whole and were not. */
  lost: number
  /** Answers that held something twice, or more than there was. */
  doubled: number
  /** Answers that belong to another request. */
  mismatched: number
  readonly examples: string[]
}

/** What is there when the soak is over and the client closed. */
export interface Rest {
  readonly sockets: number
  readonly timers: number
  readonly listeners: number
  readonly upstreamActive: number
  /** Calls that the layers still count as running or waiting. */
  readonly held: number
  /**
   * Calls that the cache answered, that shared an answer in progress, and that went upstream with
   * others.
   */
  readonly hits: number
  readonly joined: number
  readonly merged: number
  /** What Node warned of. */
  readonly warnings: readonly string[]
  /** Heap behind a collection: when the load had run for a while, and at the end. Bytes. */
  readonly earlyHeap: number
  readonly finalHeap: number
  readonly peakRss: number
  readonly finalRss: number
}

/**
 * What may come of a call when one request in eight meets a fault. Everything else is a mistake of
 * ours.
 */
const EXPECTED = new Set([
  'ok',
  'left',
  'aborted',
  'SERVER',
  'NETWORK',
  'PROTOCOL',
  'STREAM',
  'TIMEOUT',
  'RATE_LIMITED',
  'BREAKER_OPEN',
])

/** The heap may breathe by this much. Bytes. */
const BREATH = 12 * 1024 * 1024

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`

export const newCounts = (): Counts => ({
  calls: 0,
  open: 0,
  outcomes: new Map(),
  lost: 0,
  doubled: 0,
  mismatched: 0,
  examples: [],
})

export function count(counts: Counts, outcome: string): void {
  counts.outcomes.set(outcome, (counts.outcomes.get(outcome) ?? 0) + 1)
}

/** What is wrong, in words; nothing when all is well. */
export function verdict(counts: Counts, rest: Rest): string[] {
  const wrong: string[] = []
  const none = (number: number, what: string) => number !== 0 && wrong.push(`${number} ${what}`)
  none(counts.open, 'calls never settled')
  none(counts.lost, 'answers were cut short without an error')
  none(counts.doubled, 'answers were doubled')
  none(counts.mismatched, 'answers belong to another request')
  none(rest.sockets, 'sockets are open')
  none(rest.timers, 'timers are set')
  none(rest.listeners, 'listeners are left on a signal')
  none(rest.upstreamActive, 'requests are still upstream')
  none(rest.held, 'calls are still counted as running or waiting')
  for (const [outcome, number] of counts.outcomes)
    if (!EXPECTED.has(outcome)) none(number, `calls ended with ${outcome}`)
  wrong.push(...rest.warnings)
  if (rest.hits === 0 || rest.joined === 0 || rest.merged === 0)
    wrong.push('nothing was shared, so sharing was not tried')
  if (!counts.outcomes.has('ok')) wrong.push('no call was answered')
  if (rest.finalHeap > rest.earlyHeap + BREATH)
    wrong.push(`the heap grew from ${mib(rest.earlyHeap)} to ${mib(rest.finalHeap)}`)
  return wrong
}

export function print(counts: Counts, rest: Rest, seconds: number, wrong: readonly string[]): void {
  const outcomes = [...counts.outcomes]
    .sort((a, b) => b[1] - a[1])
    .map(([outcome, number]) => `${outcome} ${number}`)
  console.log(
    `calls       ${counts.calls} in ${seconds.toFixed(1)} s (${Math.round(counts.calls / seconds)} per second)`,
  )
  console.log(`outcomes    ${outcomes.join(', ')}`)
  console.log(
    `answers     ${counts.lost} lost, ${counts.doubled} doubled, ${counts.mismatched} mismatched, ${counts.open} never settled`,
  )
  console.log(
    `shared      ${rest.hits} from the cache, ${rest.joined} joined, ${rest.merged} merged`,
  )
  console.log(
    `memory      rss ${mib(rest.peakRss)} at most, ${mib(rest.finalRss)} at the end; heap ${mib(rest.earlyHeap)} early, ${mib(rest.finalHeap)} at the end`,
  )
  console.log(
    `left        ${rest.sockets} sockets, ${rest.timers} timers, ${rest.listeners} listeners, ${rest.upstreamActive} requests upstream`,
  )
  for (const example of counts.examples) console.log(`example     ${example}`)
  console.log(wrong.length === 0 ? 'all is well' : `WRONG: ${wrong.join('; ')}`)
}
