import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Import {
  /** A file of this project as its path from the root, a package or a built-in as it is written. */
  readonly of: string
  /** Whether nothing of it is left when the types are gone. */
  readonly isType: boolean
}

export interface Module {
  /** From the project's root, with slashes. */
  readonly path: string
  readonly text: string
  readonly imports: readonly Import[]
}

/** The TypeScript and JavaScript files below a folder, with what they import. */
export function modulesBelow(folder: string): Module[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.m?[tj]s$/.test(name) && !/(^|[\\/])node_modules[\\/]/.test(name))
    .map((name) => moduleAt(join(ROOT, folder, name)))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

function moduleAt(file: string): Module {
  const text = readFileSync(file, 'utf8')
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const imports: Import[] = []
  const add = (specifier: ts.Node | undefined, isType: boolean) => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return
    const of = specifier.text.startsWith('.')
      ? fromRoot(join(dirname(file), specifier.text)).replace(/\.js$/, '.ts')
      : specifier.text
    imports.push({ of, isType })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeImport(node))
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, isTypeExport(node))
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, true)
    else if (
      ts.isCallExpression(node) &&
      (node.expression.kind === ts.SyntaxKind.ImportKeyword ||
        node.expression.getText() === 'require')
    ) {
      add(node.arguments[0], false)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return { path: fromRoot(file), text, imports }
}

const fromRoot = (file: string): string => relative(ROOT, file).split(sep).join('/')

function isTypeImport({ importClause }: ts.ImportDeclaration): boolean {
  if (importClause === undefined) return false
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const { name, namedBindings } = importClause
  return (
    name === undefined &&
    namedBindings !== undefined &&
    ts.isNamedImports(namedBindings) &&
    allTypes(namedBindings.elements)
  )
}

function isTypeExport({ isTypeOnly, exportClause }: ts.ExportDeclaration): boolean {
  return (
    isTypeOnly ||
    (exportClause !== undefined &&
      ts.isNamedExports(exportClause) &&
      allTypes(exportClause.elements))
  )
}

const allTypes = (elements: readonly { readonly isTypeOnly: boolean }[]): boolean =>
  elements.every(({ isTypeOnly }) => isTypeOnly)

/** Groups of files that import each other in a circle, each sorted. */
export function cyclesIn(modules: readonly Module[], { types }: { types: boolean }): string[][] {
  const edges = new Map(
    modules.map(({ path, imports }) => [
      path,
      imports.filter(({ isType }) => types || !isType).map(({ of }) => of),
    ]),
  )
  const reachable = (from: string): Set<string> => {
    const seen = new Set<string>()
    const left = [...(edges.get(from) ?? [])]
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      if (seen.has(next)) continue
      seen.add(next)
      left.push(...(edges.get(next) ?? []))
    }
    return seen
  }
  const reach = new Map([...edges.keys()].map((path) => [path, reachable(path)]))
  const groups = new Map<string, string[]>()
  for (const [path, seen] of reach) {
    if (!seen.has(path)) continue
    const group = [...seen].filter((other) => reach.get(other)?.has(path)).sort()
    groups.set(group.join(), group)
  }
  return [...groups.values()]
}
