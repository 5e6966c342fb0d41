import { builtinModules } from 'node:module'
import { describe, expect, it } from 'vitest'
import { cyclesIn, type Module, modulesBelow } from './modules.js'

const modules = modulesBelow('src')

const partOf = (path: string): string => /^src\/([^/]+)\//.exec(path)?.[1] ?? path

/**
 * What each part may import beside itself and Node's own modules: parts of this package, and npm
 * packages.
 */
const MAY: Readonly<Record<string, { parts: readonly string[]; packages: readonly string[] }>> = {
  core: { parts: [], packages: [] },
  layers: {
    parts: ['core'],
    packages: ['is-network-error', 'keyv', 'lru-cache', 'opossum', 'p-queue', 'p-retry', 'undici'],
  },
  adapters: { parts: ['core'], packages: [] },
  blossom: { parts: ['core'], packages: ['eventsource-parser', 'undici'] },
  // The recommended stack: all of the layers, for the client.
  'src/standard.ts': { parts: ['core', 'layers'], packages: [] },
  'src/index.ts': {
    parts: ['core', 'layers', 'adapters', 'blossom', 'src/standard.ts'],
    packages: [],
  },
  http: {
    parts: ['core', 'layers', 'adapters', 'blossom', 'src/standard.ts'],
    packages: ['@keyv/redis', 'redis', 'ws'],
  },
  testing: { parts: ['core', 'layers', 'adapters', 'blossom', 'src/standard.ts'], packages: [] },
}

const isBuiltin = (of: string) => of.startsWith('node:') || builtinModules.includes(of)
const isOurs = (of: string) => of.startsWith('src/')
/** `ws` of `ws/lib/x`, `@a/b` of `@a/b/c`. */
const packageOf = (of: string) => /^(@[^/]+\/)?[^/]+/.exec(of)?.[0] ?? of

describe('src', () => {
  it('has no part without a rule', () => {
    expect([...new Set(modules.map(({ path }) => partOf(path)))].sort()).toEqual(
      Object.keys(MAY).sort(),
    )
  })

  it('imports what each part may', () => {
    const wrong = modules.flatMap(({ path, imports }) => {
      const part = partOf(path)
      const { parts, packages } = MAY[part] ?? { parts: [], packages: [] }
      return imports
        .map(({ of }) => of)
        .filter((of) => !isBuiltin(of))
        .filter(
          (of) =>
            !(isOurs(of)
              ? [part, ...parts].includes(partOf(of))
              : packages.includes(packageOf(of))),
        )
        .map((of) => `${path} imports ${of}`)
    })
    expect(wrong).toEqual([])
  })

  it('names a built-in module with node: in front', () => {
    const bare = modules.flatMap(({ path, imports }) =>
      imports.filter(({ of }) => builtinModules.includes(of)).map(({ of }) => `${path}: ${of}`),
    )
    expect(bare).toEqual([])
  })

  it('reaches core from elsewhere through its index only', () => {
    const around = modules
      .filter(({ path }) => partOf(path) !== 'core' && path !== 'src/index.ts')
      .flatMap(({ path, imports }) => imports.map(({ of }) => [path, of] as const))
      .filter(([, of]) => partOf(of) === 'core' && of !== 'src/core/index.ts')
    expect(around).toEqual([])
  })

  it('imports nothing in a circle', () => {
    expect(cyclesIn(modules, { types: false })).toEqual([])
    // Types that speak of each other: a request's record holds its fault, which looks at records.
    const testing = ['faults', 'options', 'record'].map(
      (name) => `src/testing/local-blossom-${name}.ts`,
    )
    expect(cyclesIn(modules, { types: true })).toEqual([testing])
  })
})

describe('layers', () => {
  const files = modules.filter(({ path }) => partOf(path) === 'layers')
  const isLayer = ({ text }: Module) => /\bdefineLayer\(/.test(text)
  const layers = new Set(files.filter(isLayer).map(({ path }) => path))
  const importersOf = (path: string) =>
    files.filter(({ imports }) => imports.some(({ of }) => of === path)).map((file) => file.path)

  it('are found', () => {
    expect(layers.size).toBeGreaterThanOrEqual(8)
  })

  it('do not know each other', () => {
    const known = files.flatMap(({ path, imports }) =>
      imports.filter(({ of }) => layers.has(of)).map(({ of }) => `${path} imports ${of}`),
    )
    expect(known).toEqual([])
  })

  it('have neighbours of their own; only the room where calls wait serves two', () => {
    const shared = files
      .filter((file) => !isLayer(file))
      .map(({ path }) => [path, importersOf(path)] as const)
      .filter(([, importers]) => importers.length !== 1)
    expect(shared).toEqual([
      ['src/layers/waiting-room.ts', ['src/layers/pool.ts', 'src/layers/queue.ts']],
    ])
  })

  it('keep the library underneath in one file', () => {
    for (const name of ['opossum', 'p-queue', 'p-retry', 'keyv'])
      expect([name, importersOf(name).length]).toEqual([name, 1])
  })
})

describe('examples', () => {
  it('import the package by its entries, as its users do', () => {
    const examples = modulesBelow('examples')
    const entries = ['blossom-stack', 'blossom-stack/http', 'blossom-stack/testing']
    const wrong = examples
      .flatMap(({ path, imports }) => imports.map(({ of }) => [path, of] as const))
      .filter(
        ([, of]) =>
          of.startsWith('src/') ||
          of.startsWith('dist/') ||
          (packageOf(of) === 'blossom-stack' && !entries.includes(of)),
      )
    expect(examples.length).toBeGreaterThan(5)
    expect(wrong).toEqual([])
  })
})
