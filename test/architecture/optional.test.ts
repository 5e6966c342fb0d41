import ts from 'typescript'
import { expect, it } from 'vitest'
import { entries } from '../support/entries.js'

const ROOT = new URL('../..', import.meta.url).pathname

/** Types of what the library makes: nobody passes `undefined` to it with these. */
const MADE_BY_US = [
  'BytesAnswer',
  'CallMessage',
  'ChatAnswerMessage',
  'ChatChunk',
  'ChatCompletion',
  'ChatDelta',
  'EventUsage',
  'LayerDescription',
  'ProblemBody',
  'RequestLog',
  'StackErrorJSON',
  'StackEventDetails',
  'StreamEnd',
  'WireUsage',
]

/** Optional members of public types that refuse `undefined`, such as `CloseOptions.timeoutMs`. */
function refusing(): string[] {
  const { config } = ts.readConfigFile(`${ROOT}/tsconfig.json`, ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, ROOT)
  const files = Object.values(entries).map((file) => `${ROOT}/${file}`)
  const program = ts.createProgram(files, options)
  const checker = program.getTypeChecker()
  const found = new Set<string>()
  const accepts = (type: ts.TypeNode) => {
    const given = checker.getTypeFromTypeNode(type)
    const parts = given.isUnion() ? given.types : [given]
    const { Undefined, Unknown, Any } = ts.TypeFlags
    return parts.some(({ flags }) => flags & (Undefined | Unknown | Any))
  }
  const seen = new Set<ts.Node>()
  /** Looks at a declaration, and at those in our own files to which it refers. */
  const visit = (owner: string, node: ts.Node): void => {
    if (ts.isBlock(node) || (ts.isParameter(node) && node.name.getText() === 'this')) return
    const isRefusing =
      (ts.isMethodSignature(node) && node.questionToken) ||
      (ts.isPropertySignature(node) && node.questionToken && node.type && !accepts(node.type))
    if (isRefusing) found.add(`${owner}.${node.name.getText()}`)
    if (ts.isTypeReferenceNode(node)) follow(checker.getSymbolAtLocation(node.typeName))
    if (ts.isExpressionWithTypeArguments(node)) follow(checker.getSymbolAtLocation(node.expression))
    ts.forEachChild(node, (child) => visit(owner, child))
  }
  const follow = (symbol: ts.Symbol | undefined): void => {
    if (symbol === undefined) return
    const { name, declarations = [] } =
      symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
    for (const declaration of declarations) {
      const isOurs = declaration.getSourceFile().fileName.startsWith(`${ROOT}src/`)
      if (!isOurs || seen.has(declaration) || MADE_BY_US.includes(name)) continue
      seen.add(declaration)
      visit(name, declaration)
    }
  }
  for (const file of files)
    for (const exported of checker.getExportsOfModule(
      checker.getSymbolAtLocation(program.getSourceFile(file)!)!,
    ))
      follow(exported)
  return [...found].sort()
}

// Under `exactOptionalPropertyTypes` a caller who has `timeoutMs: number | undefined` could not pass
// it on.
it('every optional member that users fill in accepts undefined', { timeout: 60_000 }, () => {
  expect(refusing()).toEqual([])
})
