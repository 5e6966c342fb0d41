import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { comparisons } from './comparisons.js'
import { root } from './compile.js'
import { OURS } from './contenders/names.js'
import { atLeast, atMost, goal, goalsTable, isMet, Run, worst } from './goal.js'
import { goalsOf } from './goals.js'
import { draw } from './picture.js'
import { measuredPages, withMeasured } from './readme-tables.js'
import { readResults } from './results.js'
import { type Results, type Row, rowsOf } from './table.js'

const folder = mkdtempSync(join(tmpdir(), 'blossom-stack-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const program =
  (file: string) =>
  (...args: string[]) =>
    promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', join(import.meta.dirname, file), ...args],
      { cwd: root },
    )
const bench = program('run.ts')
const report = program('report.ts')

const row = (contender: string, ...rounds: number[]): Row => ({ contender, rounds, more: {} })

const results = (...tables: Results['tables']): Results => ({
  node: 'v20',
  machine: 'm <1>',
  date: '2026-01-01',
  quick: false,
  tables,
  leftOut: [],
})

describe('the benchmarks', () => {
  it('run, and write what they measured as JSON', async () => {
    const json = join(folder, 'results.json')
    const wanted = ['gateway-streams', 'hits', 'streams']
    const { stdout } = await bench(...wanted, '--quick', '--source', '--goals', '--json', json)
    const [found] = readResults(json)
    expect(found).toMatchObject({ quick: true, leftOut: [] })
    expect(found?.tables.map(({ id }) => id)).toEqual([
      'gateway-streams.paced',
      'gateway-streams.flood',
      'hits.100',
      'hits.8000',
      'streams',
    ])
    for (const { rows } of found?.tables ?? []) {
      expect(rows.length).toBeGreaterThan(1)
      for (const { contender, rounds } of rows) {
        expect(rounds).toEqual([expect.any(Number)])
        expect(rounds[0]).toBeGreaterThan(0)
        expect(stdout).toContain(contender)
      }
    }
    expect(stdout).toMatch(/\| A hit through the client, .* \| (yes|\*\*no\*\*) \|/)
  }, 120_000)

  it('name those there are when one is asked for that does not exist', async () => {
    await expect(bench('clals')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^There is no benchmark "clals"; there are: batch, calls, /),
    })
  })
})

describe('rowsOf', () => {
  it('keeps the figures of each round', () => {
    const samples = [
      { value: 1, more: { cpu: 2 } },
      { value: 3, more: { cpu: 4 } },
    ]
    expect(rowsOf(new Map([['one', samples]]))).toEqual([
      { contender: 'one', rounds: [1, 3], more: { cpu: [2, 4] } },
    ])
  })

  it('leaves out what a contender cannot measure', () => {
    const sample = { value: 1, more: { known: 2, unknown: Number.NaN } }
    expect(rowsOf(new Map([['one', [sample]]]))[0]?.more).toEqual({ known: [2] })
  })
})

describe('Run', () => {
  // The machine slows down from round to round.
  const rows = [row('base', 1, 2, 10), row('one', 3, 6, 30), row('other', 2, 4, 20)]
  const run = new Run(results({ id: 'table', title: '', unit: '', rows }))

  it('compares round by round, so that a machine that slows down changes no ratio', () => {
    expect(run.ratio('table', 'one', 'base')).toBe(3)
    expect(run.addedRatio('table', 'one', 'other', 'base')).toBe(2)
    expect(run.added('table', 'one', 'base')).toBe(4)
    expect(run.least('table', 'one')).toBe(3)
  })

  it('knows nothing of what was not measured', () => {
    expect(run.ratio('table', 'nobody', 'base')).toBeNaN()
    expect(run.value('no table', 'one')).toBeNaN()
    expect(run.least('no table', 'one')).toBeNaN()
  })
})

describe('goals', () => {
  it('are met when every figure is within its limit', () => {
    expect(isMet(goal('', [atMost(1, 1), atLeast(2, 2)]))).toBe(true)
    expect(isMet(goal('', [atMost(1, 1), atLeast(2, 1.9)]))).toBe(false)
    expect(isMet(goal('', [atMost(1, 1.1), atLeast(2, 2)]))).toBe(false)
  })

  it('are neither met nor missed when a figure was not measured', () => {
    expect(isMet(goal('', [atMost(1, 0.5), atMost(1, Number.NaN)]))).toBeUndefined()
    expect(goalsOf(results()).map(isMet)).not.toContain(true)
  })

  it('keep of several runs the worst of each figure', () => {
    const one = goal('name', [atMost(1, 0.9), atLeast(1, 1.2, 'µs')], 'of one')
    const other = goal('name', [atMost(1, 0.8), atLeast(1, 0.7, 'µs')], 'of the other')
    const [both] = worst([[other], [one]])
    expect(both?.figures.map(({ value }) => value)).toEqual([0.9, 0.7])
    expect(both?.beside).toBe('of one')
    expect(goalsTable(worst([[one], [other]]))).toContain(
      '| name | ≤ 1.00 ×, ≥ 1 µs | 0.90 ×, 0.7 µs | **no** | of one |',
    )
  })

  it('are not measured when one of the runs did not measure them', () => {
    const missing = goal('', [atMost(1, Number.NaN)])
    for (const runs of [
      [[missing], [goal('', [atMost(1, 0.5)])]],
      [[goal('', [atMost(1, 0.5)])], [missing]],
    ])
      expect(worst(runs).map(isMet)).toEqual([undefined])
  })
})

describe('the report', () => {
  it('holds two runs against the goals', async () => {
    const files = [4_200, 3_900].map((bytes) => {
      const file = join(folder, `${bytes}.json`)
      const rows = [row('p-queue', 1_000), row(OURS, bytes)]
      const table = { id: 'memory.waiting', title: '', unit: 'bytes', rows }
      writeFileSync(file, JSON.stringify(results(table)))
      return file
    })
    const { stdout } = await report(...files)
    expect(stdout).toMatch(/\| ≤ 4,000 bytes \| 4,200 bytes \| \*\*no\*\* \| p-queue 1,000 \|/)
  })

  it('publishes nothing but two whole runs', async () => {
    const file = join(folder, 'one.json')
    writeFileSync(file, JSON.stringify(results()))
    await expect(report('--publish', file)).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Publish two whole runs'),
    })
  })
})

describe('the pages', () => {
  it('show the figures of results.json, from two whole runs', () => {
    const runs = readResults(join(root, 'test', 'bench', 'results.json'))
    expect(runs).toHaveLength(2)
    for (const { quick, tables } of runs) {
      expect(quick).toBe(false)
      expect(tables.length).toBeGreaterThan(25)
    }
    for (const [path, rows] of measuredPages) {
      const page = readFileSync(join(root, path), 'utf8')
      expect(withMeasured(page, runs, rows), path).toBe(page)
    }
    expect(readFileSync(join(root, 'test', 'bench', 'results.svg'), 'utf8')).toBe(draw(runs))
  })
})

/** Whole runs in so far as they are published, ours the better the larger `luck` is. */
const whole = (luck: number): Results => {
  const table = (id: string, ...rows: Row[]) => ({ id, title: '', unit: '', rows })
  return results(
    table('calls.16', row('undici request()', 1), row(OURS, luck), row('openai', luck / 10)),
    table('streams', row('undici request()', 1), row(OURS, luck)),
    table('in-process', row('the function alone', 1), row(OURS, 1 + 10 / luck)),
    table('first-text', row('undici request()', 1), row(OURS, 1 + 1 / luck)),
    table('overload.5x', row(OURS, luck), row('cockatiel, 64 may wait', 0.5)),
    table('memory.waiting', row(OURS, 4_000 / luck)),
    table('import-and-size.import', row('undici', 100), row('blossom-stack', 100 / luck)),
    table(
      'gateway.latency',
      row('no gateway', 1),
      row('byte pipe, node:http', 2),
      row('blossom-stack/http, node:http', 1 + 1 / luck),
    ),
  )
}
const place = (table: string) => `before\n<!-- measured: peers -->\n${table}\n<!-- end -->\nafter`

describe('withMeasured', () => {
  it('puts the run into the README in which ours was worse, others with it', () => {
    const text = withMeasured(place('old'), [whole(0.8), whole(0.5)], comparisons)
    expect(text).toMatch(/^before\n<!-- measured: peers -->\n\| {2}\| \*\*blossom-stack\*\* \|/)
    expect(text).toMatch(/\| JSON calls\/s, [^|]+ \| 0\.50 × \| – \| 0\.05 × \|/)
    expect(text).toMatch(/\n\nNode v20, m <1>, 2026-01-01\.\n<!-- end -->\nafter$/)
    expect(text.split('\n')).toHaveLength(comparisons.length + 8)
    expect(withMeasured(place('old'), [whole(0.5), whole(0.8)], comparisons)).toBe(text)
  })

  it('warns of a machine that was busy', () => {
    const rows = [row('undici request()', 1, 3), row(OURS, 1, 3)]
    const tables = whole(1).tables.map((one) => (one.id === 'calls.16' ? { ...one, rows } : one))
    expect(withMeasured(place(''), [whole(1), results(...tables)], comparisons)).toContain(
      'undici alone differ by a factor of 3, so',
    )
  })

  it('shows no table of a machine that was too busy', () => {
    const rows = [row('undici request()', 1, 10), row(OURS, 1, 10)]
    const tables = whole(1).tables.map((one) => (one.id === 'calls.16' ? { ...one, rows } : one))
    const text = withMeasured(place('| a |'), [whole(1), results(...tables)], comparisons)
    expect(text).toContain(
      'too busy during the last two runs: rounds of undici alone differ by a factor of 10.',
    )
    expect(text).not.toMatch(/\||results\.svg/)
  })

  it('refuses a README without a place for it, and results of a part of the benchmarks', () => {
    expect(() => withMeasured('nothing', [whole(1)], comparisons)).toThrow('no place')
    expect(() => withMeasured(place(''), [results()], comparisons)).toThrow(
      'The results do not hold "JSON calls',
    )
  })
})

describe('draw', () => {
  it('draws a bar for every contender, the longest as long as the picture has room', () => {
    const svg = draw([whole(0.5), whole(2)])
    const bars = [
      ...svg.matchAll(/<rect class="(?:ours|raw|other)" x="\d+" y="\d+" width="([\d.]+)"/g),
    ]
    expect(bars.map(([, width]) => Number(width))).toEqual([430, 215, 21.5, 430, 215, 430])
    expect(svg).toContain('m &#60;1&#62;')
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })
})
