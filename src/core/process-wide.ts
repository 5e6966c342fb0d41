/**
 * A value that all copies of this library in the process share: ESM and CommonJS, or two versions.
 * Its shape must stay the same from version to version.
 */
export function processWide<T extends object>(name: string, make: () => T): T {
  const all = globalThis as unknown as Record<symbol, T | undefined>
  const place = Symbol.for(`blossom-stack.${name}`)
  const value = all[place] ?? make()
  all[place] = value
  return value
}
