/**
 * A value that all copies of this library in the process have in common: the ESM and the CommonJS
 * one, or two versions. It must keep its form from version to version.
 */
export function processWide<T extends object>(name: string, make: () => T): T {
  const all = globalThis as unknown as Record<symbol, T | undefined>
  const place = Symbol.for(`blossom-stack.${name}`)
  const value = all[place] ?? make()
  all[place] = value
  return value
}
