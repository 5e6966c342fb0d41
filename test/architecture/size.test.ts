import { posix } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { modulesBelow } from './modules.js'

const FILE_LINES = 300
const FUNCTION_LINES = 60
const LINE_WIDTH = 100

/** The files that may be longer, at most two, and why. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'src/core/stream/chunk-log.ts': 'the log and its cursors share their private fields',
}

interface Sized {
  readonly at: string
  readonly lines: number
}

const modules = modulesBelow('src')

const linesOf = (text: string): string[] => text.replace(/\n$/, '').split('\n')

/** The functions of a file with their lines, from the first to the last; doc comments excluded. */
function functionsIn(path: string, text: string): Sized[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1
  const found: Sized[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const first = lineAt(node.getStart())
      found.push({ at: `${path}:${first}`, lines: lineAt(node.end) - first + 1 })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Groups of at least four files of one folder whose names begin with the same word and a dash. */
function sharedPrefixes(paths: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const path of paths) {
    const word = /^[^-]+(?=-)/.exec(posix.basename(path))?.[0]
    if (word === undefined) continue
    const prefix = `${posix.dirname(path)}/${word}-`
    counts.set(prefix, (counts.get(prefix) ?? 0) + 1)
  }
  return [...counts].filter(([, count]) => count >= 4).map(([prefix]) => prefix)
}

describe('src', () => {
  it(`has no more than two files of over ${FILE_LINES} lines`, () => {
    const long = modules
      .filter(({ text }) => linesOf(text).length > FILE_LINES)
      .map(({ path }) => path)
    expect(long).toEqual(Object.keys(LONG_FILES))
    expect(long.length).toBeLessThanOrEqual(2)
  })

  it(`has no function of over ${FUNCTION_LINES} lines`, () => {
    const functions = modules.flatMap(({ path, text }) => functionsIn(path, text))
    expect(functions.length).toBeGreaterThan(1_000)
    expect(functions.filter(({ lines }) => lines > FUNCTION_LINES)).toEqual([])
  })

  it(`keeps 95 % of its lines within ${LINE_WIDTH} columns`, () => {
    const widths = modules
      .flatMap(({ text }) => linesOf(text).filter((line) => line.trim() !== ''))
      .map(({ length }) => length)
      .sort((a, b) => a - b)
    expect(widths[Math.ceil(widths.length * 0.95) - 1]).toBeLessThanOrEqual(LINE_WIDTH)
  })

  it('puts files that share the beginning of their names into a folder', () => {
    expect(sharedPrefixes(modules.map(({ path }) => path))).toEqual([])
  })
})
