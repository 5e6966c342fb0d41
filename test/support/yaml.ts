/**
 * As much of YAML as the compose files use: maps and lists by indentation, scalars as text, flow
 * lists that are JSON.
 */
export function readYaml(text: string): unknown {
  const lines = text
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.trim().startsWith('#'))
  const indentOf = (line: string) => line.length - line.trimStart().length
  const scalar = (value: string): unknown => (/^["[{]/.test(value) ? JSON.parse(value) : value)
  const block = (indent: number): unknown => {
    const list: unknown[] = []
    const map: Record<string, unknown> = {}
    while (lines.length > 0 && indentOf(lines[0]!) === indent) {
      const line = lines.shift()!.trim()
      if (line.startsWith('- ')) {
        list.push(scalar(line.slice(2)))
        continue
      }
      const [, key, value] = /^([\w-]+):(?: (.*))?$/.exec(line)!
      map[key!] = value === undefined ? block(indentOf(lines[0]!)) : scalar(value)
    }
    return list.length > 0 ? list : map
  }
  return block(0)
}
