import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const { NoTruncation, UseAliasDefinedOutsideCurrentScope, WriteArrayAsGenericType } =
  ts.TypeFormatFlags
const FLAGS = (NoTruncation | UseAliasDefinedOutsideCurrentScope) & ~WriteArrayAsGenericType

/**
 * Every public name of some entries with its signature, one line each, sorted; entries by the name
 * they are imported by.
 */
export function apiOf(entries: Readonly<Record<string, string>>): string {
  const { config } = ts.readConfigFile(`${ROOT}/tsconfig.json`, ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, ROOT)
  const program = ts.createProgram(
    Object.values(entries).map((file) => `${ROOT}/${file}`),
    options,
  )
  const checker = program.getTypeChecker()
  const sections = Object.entries(entries).map(([name, file]) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(`${ROOT}/${file}`)!)
    if (module === undefined) throw new Error(`${file} is no module.`)
    const lines = checker.getExportsOfModule(module).flatMap((symbol) => linesOf(symbol, checker))
    return `# ${name}\n${lines.sort().join('\n')}\n`
  })
  return sections.join('\n')
}

function linesOf(exported: ts.Symbol, checker: ts.TypeChecker): string[] {
  const { name } = exported
  const symbol =
    exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
  return (symbol.declarations ?? []).flatMap((declaration): string[] => {
    if (isInternal(declaration)) return []
    if (ts.isInterfaceDeclaration(declaration)) {
      return [
        `interface ${name}${headOf(declaration)}`,
        ...declaration.members.flatMap((member) => memberLine(name, member, checker)),
      ]
    }
    if (ts.isClassDeclaration(declaration)) {
      return [
        `class ${name}${headOf(declaration)}`,
        ...declaration.members.flatMap((member) => memberLine(name, member, checker)),
      ]
    }
    if (ts.isTypeAliasDeclaration(declaration))
      return [`type ${name}${parametersOf(declaration)} = ${oneLine(declaration.type)}`]
    if (ts.isFunctionDeclaration(declaration)) {
      // Behind overloads the implementation is nobody's business.
      const isOverloaded = (symbol.declarations?.length ?? 0) > 1
      const signature = checker.getSignatureFromDeclaration(declaration)
      if (signature === undefined || (isOverloaded && declaration.body !== undefined)) return []
      return [`function ${name}${checker.signatureToString(signature, declaration, FLAGS)}`]
    }
    return [
      `const ${name}: ${checker.typeToString(checker.getTypeOfSymbolAtLocation(symbol, declaration), declaration, FLAGS)}`,
    ]
  })
}

function memberLine(
  owner: string,
  member: ts.ClassElement | ts.TypeElement,
  checker: ts.TypeChecker,
): string[] {
  const modifiers = ts.getCombinedModifierFlags(member)
  if (modifiers & ts.ModifierFlags.Private || isInternal(member)) return []
  const words = modifiers & ts.ModifierFlags.Static ? 'static ' : ''
  if (ts.isCallSignatureDeclaration(member)) return [`${owner}${oneLine(member)}`]
  if (ts.isConstructorDeclaration(member)) {
    const signature = checker.getSignatureFromDeclaration(member)
    return signature === undefined
      ? []
      : [`new ${owner}${checker.signatureToString(signature, member, FLAGS)}`]
  }
  const { name } = member
  if (name === undefined || ts.isPrivateIdentifier(name)) return []
  const symbol = checker.getSymbolAtLocation(name)
  if (symbol === undefined) return []
  const optional = symbol.flags & ts.SymbolFlags.Optional ? '?' : ''
  const readonly = modifiers & ts.ModifierFlags.Readonly ? 'readonly ' : ''
  const type = checker.typeToString(
    checker.getTypeOfSymbolAtLocation(symbol, member),
    member,
    FLAGS,
  )
  return [`${owner}.${words}${readonly}${name.getText()}${optional}: ${type.replace(/\s+/g, ' ')}`]
}

function headOf(declaration: ts.InterfaceDeclaration | ts.ClassDeclaration): string {
  const clauses = (declaration.heritageClauses ?? []).map((clause) => ` ${oneLine(clause)}`)
  return parametersOf(declaration) + clauses.join('')
}

function parametersOf({
  typeParameters,
}: {
  readonly typeParameters?: ts.NodeArray<ts.TypeParameterDeclaration> | undefined
}): string {
  return typeParameters === undefined
    ? ''
    : `<${typeParameters.map((parameter) => oneLine(parameter)).join(', ')}>`
}

const isInternal = (node: ts.Node): boolean =>
  ts.getJSDocTags(node).some(({ tagName }) => tagName.text === 'internal')

/** A node's text without comments, on one line. */
function oneLine(node: ts.Node): string {
  const printer = ts.createPrinter({ removeComments: true, omitTrailingSemicolon: true })
  return printer
    .printNode(ts.EmitHint.Unspecified, node, node.getSourceFile())
    .replace(/\s+/g, ' ')
    .trim()
}
