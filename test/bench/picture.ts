import { inXml, svgOf } from '../support/svg.js'
import { type Comparison, calls, policies, streams, worseRun } from './comparisons.js'
import {
  BY_HAND,
  COCKATIEL,
  DISPATCH,
  OPENAI,
  OURS,
  PLAIN,
  POLLINATIONS,
  RAW,
  STANDARD,
  VERCEL,
} from './contenders/names.js'
import { written } from './goal.js'
import type { Results } from './table.js'

const WIDTH = 820
const LEFT = 210
const LONGEST = 430
const LINE = 22
const MARGIN = 24

interface Bar {
  readonly name: string
  readonly value: number
  readonly label: string
}

const kindOf = (name: string) =>
  [OURS, STANDARD, PLAIN].includes(name) ? 'ours' : [RAW, DISPATCH].includes(name) ? 'raw' : 'other'

/** One part of the picture from `top` on, and where it ends. */
function part(title: string, bars: readonly Bar[], top: number): { svg: string; end: number } {
  const most = Math.max(...bars.map(({ value }) => value))
  const lines = bars.map(({ name, value, label }, i) => {
    const y = top + 14 + i * LINE
    const length = Math.max(1, (value / most) * LONGEST)
    return [
      `<text class="${kindOf(name)}-name" x="${LEFT - 8}" y="${y + 12}" text-anchor="end">${inXml(name)}</text>`,
      `<rect class="${kindOf(name)}" x="${LEFT}" y="${y}" width="${length.toFixed(1)}" height="16" rx="2"/>`,
      `<text x="${(LEFT + length + 6).toFixed(1)}" y="${y + 12}">${inXml(label)}</text>`,
    ].join('\n')
  })
  return {
    svg: [`<text class="title" x="${MARGIN}" y="${top}">${inXml(title)}</text>`, ...lines].join(
      '\n',
    ),
    end: top + 14 + bars.length * LINE,
  }
}

/** Best first. */
function barsOf(runs: readonly Results[], comparison: Comparison, names: readonly string[]): Bar[] {
  const { better, unit } = comparison
  const run = worseRun(runs, comparison)
  return names
    .map((name) => ({ name, value: comparison.figure(run, name) }))
    .filter(({ value }) => Number.isFinite(value))
    .toSorted((a, b) => (better === 'more' ? b.value - a.value : a.value - b.value))
    .map(({ name, value }) => ({ name, value, label: written(value, unit) }))
}

const CLIENTS = [
  RAW,
  DISPATCH,
  PLAIN,
  OURS,
  STANDARD,
  BY_HAND,
  COCKATIEL,
  POLLINATIONS,
  OPENAI,
  VERCEL,
]
const POLICIES = [OURS, STANDARD, BY_HAND, COCKATIEL, '@git-stunts/alfred', 'llm-retry-kit']

export function draw(runs: readonly Results[]): string {
  const parts: readonly [string, readonly Bar[]][] = [
    ['JSON calls, 16 at a time, × undici (more is better)', barsOf(runs, calls, CLIENTS)],
    ['Chunks of 16 streams, × undici (more is better)', barsOf(runs, streams, CLIENTS)],
    [
      'What the layers add to a call in the process (less is better)',
      barsOf(runs, policies, POLICIES),
    ],
  ]
  let top = 44
  const svg = parts.map(([title, bars]) => {
    const drawn = part(title, bars, top)
    top = drawn.end + 40
    return drawn.svg
  })
  const height = top - 2
  const { node, machine, date } = runs.at(-1) as Results
  const foot = `<text class="foot" x="${MARGIN}" y="${height - 14}">${inXml(`Node ${node}, ${machine}, ${date}. Upstream in another process; every call is a miss.`)}</text>`
  return svgOf({
    width: WIDTH,
    height,
    title:
      'blossom-stack beside undici, policy libraries and SDKs: calls, stream chunks and in-process cost',
    style: `.foot { fill: #59636e; font-size: 11px }
.ours { fill: #bf3989 } .ours-name { font-weight: 600 } .raw { fill: #57606a } .other { fill: #9aa4af }`,
    darkStyle: `.foot { fill: #9198a1 }
.ours { fill: #e275ad } .raw { fill: #b7bdc8 } .other { fill: #656c76 }`,
    parts: [...svg, foot],
  })
}
