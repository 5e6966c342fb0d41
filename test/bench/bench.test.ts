import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { root } from './compile.js'
import { goalsOf } from './goals.js'
import { draw } from './picture.js'
import { withMeasured } from './readme-tables.js'
import { type Results, type Row, rowsOf } from './table.js'

const folder = mkdtempSync(join(tmpdir(), 'blossom-stack-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const bench = (...args: string[]) =>
  promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', join(import.meta.dirname, 'run.ts'), ...args],
    { cwd: root },
  )

const row = (contender: string, value: number, ratio = 1): Row => ({
  contender,
  value,
  ratio,
  low: value,
  high: value,
  more: {},
})

describe('the benchmarks', () => {
  it('run, and write what they found as JSON', async () => {
    const json = join(folder, 'results.json')
    const { stdout } = await bench(
      'streams',
      'hits',
      '--quick',
      '--source',
      '--goals',
      '--json',
      json,
    )
    const { quick, tables, leftOut } = JSON.parse(readFileSync(json, 'utf8')) as Results
    expect(quick).toBe(true)
    expect(leftOut).toEqual([])
    expect(tables.map(({ id }) => id)).toEqual(['streams', 'hits.100', 'hits.8000', 'hits.equal'])
    for (const { rows } of tables) {
      expect(rows.length).toBeGreaterThan(1)
      for (const { value, low, high } of rows) {
        expect(value).toBeGreaterThan(0)
        expect([low, high]).toEqual([value, value])
      }
    }
    for (const { rows } of tables)
      for (const { contender } of rows) expect(stdout).toContain(contender)
    expect(stdout).toMatch(/\| 100 equal calls at once \| 1 call upstream \| 1 \| yes \|/)
  }, 120_000)

  it('names those there are when one is asked for that does not exist', async () => {
    await expect(bench('clals')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^There is no benchmark "clals"; there are: batch, calls, /),
    })
  })
})

describe('rowsOf', () => {
  it('compares round by round, so that a machine that slows down changes no ratio', () => {
    const [, second] = rowsOf(
      new Map([
        ['first', [100, 50, 10]],
        ['second', [50, 25, 5]],
      ]),
    )
    expect(second).toEqual({
      contender: 'second',
      value: 25,
      ratio: 0.5,
      low: 5,
      high: 50,
      more: {},
    })
  })

  it('leaves out what a contender cannot tell', () => {
    const sample = { value: 1, more: { known: 2, unknown: Number.NaN } }
    expect(rowsOf(new Map([['one', [sample]]]))[0]?.more).toEqual({
      known: { value: 2, ratio: 1, low: 2, high: 2 },
    })
  })
})

const results = (...tables: Results['tables']): Results => ({
  node: 'v20',
  machine: 'm <1>',
  date: '2026-01-01',
  quick: false,
  tables,
  leftOut: [],
})

describe('goalsOf', () => {
  const goal = (rows: Row[]) =>
    goalsOf(results({ id: 'hits.equal', title: '', unit: '', rows })).find((one) =>
      one.goal.startsWith('100 equal calls'),
    )

  it('tells a goal that is met from one that is not, and from one that was not measured', () => {
    expect(goal([row('blossom-stack, full stack', 1)])?.met).toBe(true)
    expect(goal([row('blossom-stack, full stack', 2)])?.met).toBe(false)
    expect(goal([])?.met).toBeUndefined()
  })
})

describe('the README', () => {
  it('shows the figures of results.json, all from one whole run', () => {
    const found = JSON.parse(
      readFileSync(join(root, 'test', 'bench', 'results.json'), 'utf8'),
    ) as Results
    expect(found.quick).toBe(false)
    expect(found.tables.length).toBeGreaterThan(25)
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    expect(withMeasured(readme, found)).toBe(readme)
    expect(readFileSync(join(root, 'test', 'bench', 'results.svg'), 'utf8')).toBe(draw(found))
  })
})

describe('draw', () => {
  it('draws a bar for every contender, the longest as long as the picture has room', () => {
    const rows = [
      row('undici request()', 30_000),
      row('blossom-stack, full stack', 33_000, 1.1),
      row('a <b>', 3_000, 0.1),
    ]
    const table = (id: string) => ({ id, title: '', unit: '', rows })
    const svg = draw(results(table('calls.16'), table('streams'), table('in-process')))
    expect(svg.match(/<rect class="(ours|raw|other)"/g)).toHaveLength(9)
    expect(svg).toContain('a &#60;b&#62;')
    expect(svg).not.toMatch(/NaN|Infinity|undefined|<b>/)
    expect(
      Math.max(
        ...[...svg.matchAll(/<rect class="\w+" x="\d+" y="\d+" width="([\d.]+)"/g)].map(
          ([, width]) => Number(width),
        ),
      ),
    ).toBe(430)
  })

  it('refuses results of a part of the benchmarks', () => {
    expect(() => draw(results())).toThrow('The results hold no in-process')
  })
})
