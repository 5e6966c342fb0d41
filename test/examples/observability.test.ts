import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { createGateway } from '../../src/gateway/index.js'
import { createBlossom, standard } from '../../src/index.js'
import { startLocalBlossom } from '../../src/testing/index.js'
import { type ParsedFamily, parsePrometheus } from '../support/prometheus-text.js'
import { failure } from '../support/watch.js'

const folder = join(import.meta.dirname, '../../examples/observability')
const read = (name: string) => readFileSync(join(folder, name), 'utf8')

/** A query, and the labels that its legend or its sentence shows. */
interface Query {
  readonly at: string
  readonly expr: string
  readonly shown: readonly string[]
}

interface Panel {
  readonly id: number
  readonly title: string
  readonly type: string
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
}
interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly definition?: string }[]
  }
}

const dashboard = JSON.parse(read('dashboard.json')) as Dashboard
const inLegend = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!)

const ofPanels = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map(
    ({ expr, legendFormat }): Query => ({ at: title, expr, shown: inLegend(legendFormat) }),
  ),
)
const ofVariables = dashboard.templating.list.flatMap(({ name, definition }): Query[] => {
  const [, metric, label] = /^label_values\((\w+), (\w+)\)$/.exec(definition ?? '') ?? []
  return metric && label ? [{ at: `$${name}`, expr: metric, shown: [label] }] : []
})
const ofAlerts = read('alerts.yaml')
  .split(/^ {6}- alert: /m)
  .slice(1)
  .map((rule): Query => {
    const [, expr = ''] = /^ {8}expr: (.+)$/m.exec(rule) ?? []
    const shown = [...rule.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!)
    return { at: rule.slice(0, rule.indexOf('\n')), expr, shown }
  })
const queries = [...ofPanels, ...ofVariables, ...ofAlerts]

/** What Prometheus adds, or has by itself. */
const ITS_OWN = ['instance', 'job', 'le']
/** Values that a label may have, where it does not depend on who is asked for what. */
const VALUES: Readonly<Record<string, RegExp>> = {
  outcome: /^(complete|failed|left)$/,
  direction: /^(input|output|cached|reasoning)$/,
  status: /^(hit|stale|miss)$/,
  state: /^(closed|open|half-open)$/,
  job: /^blossom$/,
}

/** The metrics of a query with the labels that it selects by. */
function selectorsIn(
  expr: string,
): { metric: string; matchers: [label: string, value: string][] }[] {
  return [...expr.matchAll(/\b(blossom_\w+|up)\b(?:\{([^}]*)\})?/g)].map(
    ([, metric = '', text = '']) => ({
      metric,
      matchers: [...text.matchAll(/(\w+)(?:=~|!~|!=|=)"([^"]*)"/g)].map(
        ([, label = '', value = '']) => [label, value],
      ),
    }),
  )
}

const groupedBy = (expr: string) =>
  [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels = '']) => labels.split(/,\s*/))

let families: ParsedFamily[]
let labelsOf: ReadonlyMap<string, ReadonlySet<string>>

/** Everything that a server shows after calls of all kinds. */
beforeAll(async () => {
  await using upstream = await startLocalBlossom()
  await using blossom = createBlossom({ baseURL: upstream.url, price: () => 0.001 }).use(
    ...standard({
      retry: { minDelayMs: 1, retries: 1 },
      fallback: { to: ['mistral'] },
      rateLimit: { requests: 1_000, by: 'all' },
      providerLimit: { requests: 1_000 },
    }),
  )
  const gateway = createGateway(blossom, { metrics: true })
  upstream.fault({ status: 503, times: 2 })
  await blossom.text.generate('Hello')
  for await (const _ of await blossom.text.stream('A story'));
  upstream.fault({ status: 400 })
  await failure(blossom.text.generate('Wrong'))
  const text = await (await gateway(new Request('http://localhost/metrics'))).text()
  families = parsePrometheus(text)
  const labels = new Map<string, Set<string>>([['up', new Set()]])
  for (const { samples } of families)
    for (const sample of samples) {
      const known = labels.get(sample.name) ?? new Set<string>()
      for (const label of Object.keys(sample.labels)) known.add(label)
      labels.set(sample.name, known)
    }
  labelsOf = labels
})

describe('examples/observability', () => {
  it('is tried against metrics of every family', () => {
    expect(families.filter(({ samples }) => samples.length === 0)).toEqual([])
    expect(ofPanels.length).toBeGreaterThan(20)
    expect(ofVariables).toHaveLength(2)
    expect(ofAlerts).toHaveLength(read('alerts.yaml').match(/- alert:/g)?.length ?? 0)
    expect(queries.filter(({ expr }) => selectorsIn(expr).length === 0)).toEqual([])
  })

  it('uses metrics that are exposed', () => {
    const unknown = queries.flatMap(({ at, expr }) =>
      selectorsIn(expr)
        .filter(({ metric }) => !labelsOf.has(metric))
        .map(({ metric }) => `${at}: ${metric}`),
    )
    expect(unknown).toEqual([])
  })

  it('shows every family', () => {
    const used = new Set(
      ofPanels.flatMap(({ expr }) => selectorsIn(expr)).map(({ metric }) => metric),
    )
    const missing = families.filter(({ name }) => !used.has(name) && !used.has(`${name}_bucket`))
    expect(missing.map(({ name }) => name)).toEqual([])
  })

  it('uses labels that the metrics have, with values that they can have', () => {
    const wrong = queries.flatMap(({ at, expr, shown }) => {
      const selectors = selectorsIn(expr)
      const selected = selectors.flatMap(({ metric, matchers }) =>
        matchers
          .filter(([label]) => !ITS_OWN.includes(label) && !labelsOf.get(metric)?.has(label))
          .map(([label]) => `${at}: ${metric}{${label}}`),
      )
      const grouped = [...groupedBy(expr), ...shown]
        .filter((label) => !ITS_OWN.includes(label))
        .filter((label) => !selectors.every(({ metric }) => labelsOf.get(metric)?.has(label)))
        .map((label) => `${at}: by (${label})`)
      const values = selectors
        .flatMap(({ matchers }) => matchers)
        .filter(([, value]) => !value.startsWith('$'))
        .flatMap(([label, value]) => value.split('|').map((one) => [label, one] as const))
        .filter(([label, value]) => VALUES[label]?.test(value) === false)
        .map(([label, value]) => `${at}: ${label}="${value}"`)
      return [...selected, ...grouped, ...values]
    })
    expect(wrong).toEqual([])
  })

  it('names only error codes that exist', () => {
    const errors = readFileSync(join(folder, '../../src/core/errors.ts'), 'utf8')
    const codes = queries
      .flatMap(({ expr }) => selectorsIn(expr))
      .flatMap(({ matchers }) => matchers)
      .filter(([label]) => label === 'code')
      .flatMap(([, value]) => value.split('|'))
    expect(codes.length).toBeGreaterThan(2)
    expect(codes.filter((code) => !errors.includes(`| '${code}'`))).toEqual([])
  })

  it('shows in legends and sentences only what its queries keep', () => {
    const lost = queries.flatMap(({ at, expr, shown }) => {
      const kept = groupedBy(expr)
      const isGrouped = /\b(sum|max|histogram_quantile)\b/.test(expr)
      return isGrouped
        ? shown.filter((label) => !kept.includes(label)).map((label) => `${at}: ${label}`)
        : []
    })
    expect(lost).toEqual([])
  })

  it('has panels with unique ids that do not overlap', () => {
    const { panels } = dashboard
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
    expect(panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true)
  })

  it('mounts files that exist, and enables the metrics', () => {
    const compose = read('compose.yaml')
    const mounted = [...compose.matchAll(/- \.\/([\w./-]+):/g)].map(([, name]) => name!)
    expect(mounted).toHaveLength(5)
    for (const name of mounted) expect(read(name)).not.toBe('')
    expect(compose).toContain('BLOSSOM_METRICS: "on"')
    // Nothing is reachable from elsewhere.
    const ports = [...compose.matchAll(/- "([\d.:-]+)"/g)].map(([, port]) => port!)
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([])
    expect(read('prometheus.yaml')).toContain('/etc/prometheus/alerts.yaml')
  })

  const hasPromtool = spawnSync('promtool', ['--version']).status === 0
  it.skipIf(!hasPromtool)('has rules and settings that promtool accepts', () => {
    for (const args of [
      ['check', 'rules', 'alerts.yaml'],
      ['check', 'config', '--syntax-only', 'prometheus.yaml'],
    ]) {
      const { status, stderr } = spawnSync('promtool', args, { cwd: folder, encoding: 'utf8' })
      expect([args, status, stderr]).toEqual([args, 0, ''])
    }
  })
})
