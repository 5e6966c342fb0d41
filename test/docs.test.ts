import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { entries } from './support/entries.js'

const root = join(import.meta.dirname, '..')
const files = Object.values(entries).map((file) => join(root, file))

/** Where a name is declared and what its doc comment says. */
interface Named {
  readonly name: string
  readonly at: string
  readonly comment: string
}

const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
const { options } = ts.parseJsonConfigFileContent(
  { ...config, files: [], include: [] },
  ts.sys,
  root,
)
const program = ts.createProgram(files, options)
const checker = program.getTypeChecker()

function describeSymbol(symbol: ts.Symbol, name = symbol.name): Named {
  const declaration = symbol.declarations?.[0]
  const source = declaration?.getSourceFile()
  const line =
    source && declaration
      ? source.getLineAndCharacterOfPosition(declaration.getStart()).line + 1
      : 0
  return {
    name,
    at: source ? `${relative(root, source.fileName).replaceAll(sep, '/')}:${line}` : '',
    comment: ts.displayPartsToString(symbol.getDocumentationComment(checker)),
  }
}

const exported = files.flatMap((entry) =>
  checker
    .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)!)!)
    .map((symbol) =>
      symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol,
    ),
)
const isOurs = (symbol: ts.Symbol) =>
  symbol.declarations?.every((node) => node.getSourceFile().fileName.startsWith(join(root, 'src')))
const silent = (all: readonly Named[]) =>
  all.filter(({ comment }) => comment === '').map(({ name, at }) => `${name} (${at})`)

describe('what the package exports', () => {
  it('is described by a doc comment for each export', () => {
    expect(exported.length).toBeGreaterThan(100)
    expect(silent(exported.map((symbol) => describeSymbol(symbol)))).toEqual([])
  })

  it('has a doc comment on every option', () => {
    const ofOptions = exported.filter(({ name }) => name.endsWith('Options'))
    const settings = ofOptions.flatMap((symbol) =>
      checker
        .getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol))
        .filter(isOurs)
        .map((property) => describeSymbol(property, `${symbol.name}.${property.name}`)),
    )
    expect(settings.length).toBeGreaterThan(100)
    expect(silent(settings)).toEqual([])
  })
})

describe('CONTRIBUTING.md', () => {
  const rows = [
    ...readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8').matchAll(
      /^\| `src\/?(\w*)`.*\|(.*)\|$/gm,
    ),
  ]
  const allowed = new Map(
    rows.map(([, folder, cell]) => [
      folder!,
      [...cell!.matchAll(/`([\w.]+)`/g)].map((match) => match[1]!),
    ]),
  )

  it('names all folders of the source', () => {
    const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    )
    expect([...allowed.keys()].sort()).toEqual(['', ...folders.map(({ name }) => name)].sort())
  })

  it('says which folders each may import, and no file does otherwise', () => {
    const src = join(root, 'src')
    const folderOf = (path: string) => relative(src, path).split(sep).slice(0, -1)[0] ?? ''
    const files = program
      .getSourceFiles()
      .filter(({ fileName }) => fileName.startsWith(src.replaceAll(sep, '/')))
    const wrong = files.flatMap((file) =>
      ts
        .preProcessFile(file.text, true, true)
        .importedFiles.filter(({ fileName }) => /^\..*\.js$/.test(fileName))
        .map(({ fileName }) => ({
          from: folderOf(file.fileName),
          to: folderOf(join(dirname(file.fileName), fileName)),
          file,
          fileName,
        }))
        .filter(({ from, to, fileName }) => {
          const named = to || basename(fileName).replace(/\.js$/, '.ts')
          return from !== to && !allowed.get(from)?.includes(named)
        })
        .map(({ file, fileName }) => `${relative(root, file.fileName)}: ${fileName}`),
    )
    expect(files.length).toBeGreaterThan(100)
    expect(wrong).toEqual([])
  })
})
