import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fairnessFigures, guesses, guessFigures, queues } from './fairness.js'
import { hedgers, hedgingFigures } from './hedging.js'
import { doubleFigures, doubleLimiters, limiters, limitFigures } from './limits.js'
import { BREAKS, fallbacks, shown } from './streams.js'

const root = join(import.meta.dirname, '..', '..', '..')

/** The page with the tables. */
export const PAGE = join(root, 'src', 'layers', 'COMPARISON.md')

const PEERS = [
  'rate-limiter-flexible',
  'bottleneck',
  'p-limit',
  'cockatiel',
  'llm-retry-kit',
  'ai-retry',
]

const times = (ratio: number) => `${ratio.toFixed(2)} ×`
const percent = (share: number) => `${Math.round(100 * share)} %`
const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`

/** A table of which each row begins with a name. */
async function table(
  head: readonly string[],
  names: object,
  cells: (name: string) => Promise<readonly string[]>,
): Promise<string> {
  const lines = [['', ...head], ['', ...head].map(() => '---')]
  for (const name of Object.keys(names)) lines.push([name, ...(await cells(name))])
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n')
}

const limits = () =>
  table(['60 at once', 'across a boundary', 'under load', 'used'], limiters, async (name) => {
    const { atOnce, edge, load, used } = await limitFigures(name)
    return [String(atOnce), times(edge), times(load), percent(used)]
  })

const tokens = () =>
  table(
    ['tokens in a minute', 'used', 'small calls, after refusals', 'large call', 'behind it'],
    doubleLimiters,
    async (name) => {
      const figures = await doubleFigures(name)
      const { used, without, after, dear, small } = figures
      return [
        times(figures.tokens),
        percent(used),
        after === undefined ? 'refuses none' : `${without}, ${after}`,
        dear === 1 ? 'runs' : 'never runs',
        `${small} of 10`,
      ]
    },
  )

const fairness = () =>
  table(
    ['calls until a new tenant starts', "Jain's index", 'most in progress', 'one tenant alone'],
    queues,
    async (name) => {
      const { newcomer, index, most, alone } = await fairnessFigures(name)
      return [String(newcomer), index.toFixed(2), String(most), String(alone)]
    },
  )

const capacity = () =>
  table(
    ['capacity 8: in use', 'requests refused', 'capacity 64: in use', 'requests refused'],
    guesses,
    async (name) => {
      const { small, large } = await guessFigures(name)
      return [small.busy, small.refused, large.busy, large.refused].map(percent)
    },
  )

const hedging = () =>
  table(
    ['median', '99th percentile', 'extra calls', 'slow: 99th percentile', 'slow: extra calls'],
    hedgers,
    async (name) => {
      const { well, slow } = await hedgingFigures(name)
      return [
        seconds(well.p50),
        seconds(well.p99),
        percent(well.extra),
        seconds(slow.p99),
        percent(slow.extra),
      ]
    },
  )

const streams = () =>
  table(BREAKS, fallbacks, async (name) => {
    const cells: string[] = []
    for (const breaks of BREAKS) cells.push(await shown(name, breaks))
    return cells
  })

const versions = async () => {
  const versionOf = (name: string) =>
    JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version
  return `${PEERS.map((name) => `\`${name}\` ${versionOf(name)}`).join(', ')}.`
}

/** The parts of the page that are simulated, by the names of their places. */
export const parts: Readonly<Record<string, () => Promise<string>>> = {
  versions,
  limits,
  tokens,
  fairness,
  capacity,
  hedging,
  streams,
}

/** What the page has at one of its places: between `<!-- simulated: NAME -->` and `<!-- end -->`. */
export function placeIn(page: string, name: string): { from: number; to: number } {
  const begin = `<!-- simulated: ${name} -->\n`
  const from = page.indexOf(begin)
  const to = page.indexOf('\n<!-- end -->', from)
  if (from < 0 || to < 0) throw new Error(`The page has no place for ${name}.`)
  return { from: from + begin.length, to }
}
