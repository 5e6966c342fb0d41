import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { entries } from './support/entries.js'
import { findPages } from './support/readme-blocks.js'

const root = join(import.meta.dirname, '..')

/** A table of options on a page, below a comment that names their types: `<!-- CacheOptions -->`. */
interface OptionTable {
  readonly at: string
  readonly type: string | undefined
  readonly rows: readonly string[]
}

const tables: readonly OptionTable[] = findPages(root).flatMap((page) =>
  [
    ...readFileSync(join(root, page), 'utf8').matchAll(
      /(?:<!-- ([\w ]+) -->\n)?\| option \| default \|.*\n\|[-|]+\n((?:\|.*\n)*)/g,
    ),
  ].map(([table, type, rows]) => ({
    at: `${page}: ${type ?? table.slice(0, 80)}`,
    type,
    rows: [...rows!.matchAll(/^\| `(\w+)` \| (.*?) \|/gm)]
      .filter(([, name]) => name !== 'name')
      .map(([, name, value]) => `${name}: ${plain(value!)}`),
  })),
)

/** The same words, in code or not, without what explains them. */
function plain(text: string): string {
  return text
    .replaceAll('`', '')
    .replace(/\[(.*)\]\(.*\)/, '$1')
    .replaceAll('\\|', '|')
    .replace(/\s+/g, ' ')
    .replace(/(\d)_(?=\d)/g, '$1')
    .replace(/(: |; |, [a-z]| \().*$/, '')
    .replace(/^–$/, 'none')
}

const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
const { options } = ts.parseJsonConfigFileContent(
  { ...config, files: [], include: [] },
  ts.sys,
  root,
)
const program = ts.createProgram(
  Object.values(entries).map((file) => join(root, file)),
  options,
)
const checker = program.getTypeChecker()

/** The options of a type in the code's order, with what their doc comments say is the default. */
function optionsOf(type: string): string[] {
  const declaration = program
    .getSourceFiles()
    .filter(({ fileName }) => fileName.startsWith(join(root, 'src').replaceAll('\\', '/')))
    .flatMap((file) => file.statements.filter(ts.isInterfaceDeclaration))
    .find(({ name, modifiers }) => name.text === type && modifiers !== undefined)
  if (declaration === undefined) throw new Error(`There is no exported interface ${type}.`)
  return declaration.members.flatMap((member) => {
    const property = checker.getSymbolAtLocation(member.name!)!
    // Every layer has a name, which README.md describes.
    if (property.name === 'name') return []
    const tag = property.getJsDocTags(checker).find(({ name }) => name === 'default')
    const absent = property.flags & ts.SymbolFlags.Optional ? 'none' : 'required'
    return `${property.name}: ${plain(tag ? ts.displayPartsToString(tag.text) : absent)}`
  })
}

describe('the tables of options', () => {
  it('name their types', () => {
    expect(tables.length).toBeGreaterThan(15)
    expect(tables.filter(({ type }) => type === undefined).map(({ at }) => at)).toEqual([])
  })

  it.each(tables.map((table) => [table.at, table] as const))(
    'have the options and defaults of the code: %s',
    (_at, { type, rows }) => expect(rows).toEqual(type!.split(' ').flatMap(optionsOf)),
  )
})
