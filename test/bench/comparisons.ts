import {
  BY_HAND,
  COCKATIEL,
  DIRECT,
  LIBRARY,
  NODE,
  NOOP,
  OPENAI,
  OURS,
  PIPE,
  POLLINATIONS,
  PORTKEY,
  RAW,
  SHORT_LINE,
  VERCEL,
} from './contenders/names.js'
import { Run } from './goal.js'
import type { Results } from './table.js'

/** A figure that others have, too. */
export interface Comparison {
  readonly title: string
  readonly unit: string
  readonly better: 'less' | 'more'
  /** `NaN` when `name` did not take part. */
  figure(run: Run, name: string): number
}

export const calls: Comparison = {
  title: 'JSON calls/s, 16 at a time, × undici',
  unit: '×',
  better: 'more',
  figure: (run, name) => run.ratio('calls.16', name, RAW),
}
export const streams: Comparison = {
  title: 'chunks/s of 16 streams, × undici',
  unit: '×',
  better: 'more',
  figure: (run, name) => run.ratio('streams', name, RAW),
}
export const policies: Comparison = {
  title: 'layers or policies around a function that does nothing',
  unit: 'µs',
  better: 'less',
  figure: (run, name) => run.added('in-process', name, NOOP),
}

const waiting: Comparison = {
  title: 'memory of a waiting call',
  unit: 'bytes',
  better: 'less',
  figure: (run, name) => run.value('memory.waiting', name),
}

/** The rows of the table on the page of the benchmarks. */
export const comparisons: readonly Comparison[] = [
  calls,
  streams,
  {
    title: "first text of a stream, added to undici's",
    unit: 'ms',
    better: 'less',
    figure: (run, name) => run.added('first-text', name, RAW),
  },
  policies,
  {
    title: 'useful answers under 5 × overload, as a share of capacity',
    unit: '',
    better: 'more',
    figure: (run, name) => run.value('overload.5x', name === COCKATIEL ? SHORT_LINE : name),
  },
  waiting,
  {
    title: '`import`, × undici',
    unit: '×',
    better: 'less',
    figure: (run, name) =>
      run.ratio('import-and-size.import', name === OURS ? LIBRARY : name, 'undici'),
  },
  {
    title: 'gateway: time added to a call, × a pipe that only copies bytes',
    unit: '×',
    better: 'less',
    figure: (run, name) =>
      run.addedRatio('gateway.latency', name === OURS ? NODE : name, PIPE, DIRECT),
  },
]

/** The rows that the README shows of them. */
export const shown: readonly Comparison[] = [calls, streams, policies, waiting]

/** The columns, ours first. */
export const columns = [OURS, BY_HAND, COCKATIEL, POLLINATIONS, OPENAI, VERCEL, PORTKEY] as const

/**
 * The run in which our figure was worse. Everybody's figures are told from that one: a figure that
 * only one run shows is not published.
 */
export function worseRun(runs: readonly Results[], { title, figure, better }: Comparison): Run {
  const known = runs.map((results) => {
    const run = new Run(results)
    return { run, ours: figure(run, OURS) }
  })
  if (known.some(({ ours }) => !Number.isFinite(ours)))
    throw new Error(`The results do not hold "${title}"; run all benchmarks.`)
  const [worst] = known.toSorted((a, b) => (better === 'less' ? b.ours - a.ours : a.ours - b.ours))
  if (worst === undefined) throw new Error('There are no results.')
  return worst.run
}

/**
 * The largest ratio of two rounds of undici itself, which on an idle machine is close to 1: figures
 * of a busy machine must not be taken for exact.
 */
export const unrest = (runs: readonly Results[]): number =>
  Math.max(
    ...runs.flatMap((results) =>
      ['calls.16', 'streams'].map((table) => {
        const rounds = new Run(results).rounds(table, RAW)
        return Math.max(...rounds) / Math.min(...rounds)
      }),
    ),
  )
