import { builtinModules } from 'node:module'
import { describe, expect, it } from 'vitest'
import { entries } from '../support/entries.js'
import { cyclesIn, modulesBelow } from './modules.js'

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
    packages: ['is-network-error', 'keyv', 'lru-cache', 'opossum', 'p-queue', 'p-retry'],
  },
  streams: { parts: ['core'], packages: [] },
  // package.json has the version.
  client: { parts: ['core'], packages: ['eventsource-parser', 'package.json', 'undici'] },
  // The recommended stack: all of the layers, for the client.
  'src/standard.ts': { parts: ['core', 'layers'], packages: [] },
  'src/core.ts': { parts: ['core', 'layers', 'streams', 'src/standard.ts'], packages: [] },
  'src/index.ts': { parts: ['client', 'src/core.ts'], packages: [] },
  gateway: {
    parts: [
      'core',
      'layers',
      'streams',
      'client',
      'redis',
      'batches',
      'telemetry',
      'src/standard.ts',
    ],
    packages: ['@fastify/busboy', '@valibot/to-json-schema', 'valibot', 'ws'],
  },
  redis: { parts: ['core'], packages: ['bullmq', 'redis'] },
  // What it needs of Redis comes by a port of core's.
  batches: { parts: ['core', 'client'], packages: [] },
  // It reads the stats of layers, whose types are theirs.
  telemetry: { parts: ['core', 'layers', 'client'], packages: ['@opentelemetry/api'] },
  testing: { parts: ['core', 'layers', 'streams', 'client', 'src/standard.ts'], packages: [] },
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

  it('imports in each part only what its rule allows', () => {
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

  it('imports built-in modules with the node: prefix', () => {
    const bare = modules.flatMap(({ path, imports }) =>
      imports.filter(({ of }) => builtinModules.includes(of)).map(({ of }) => `${path}: ${of}`),
    )
    expect(bare).toEqual([])
  })

  it('reaches core from elsewhere through its index only', () => {
    const around = modules
      .filter(({ path }) => partOf(path) !== 'core' && path !== 'src/core.ts')
      .flatMap(({ path, imports }) => imports.map(({ of }) => [path, of] as const))
      .filter(([, of]) => partOf(of) === 'core' && of !== 'src/core/index.ts')
    expect(around).toEqual([])
  })

  it('loads neither the client nor undici with blossom-stack/core', () => {
    const byPath = new Map(modules.map((module) => [module.path, module]))
    const loaded = new Set(['src/core.ts'])
    for (const path of loaded)
      for (const { of, isType } of byPath.get(path)?.imports ?? []) if (!isType) loaded.add(of)
    expect(
      [...loaded].filter((of) => partOf(of) === 'client' || packageOf(of) === 'undici'),
    ).toEqual([])
    expect(loaded).toContain('src/layers/retry/index.ts')
  })

  it('loads OpenTelemetry only on request, and imports only types from its package', () => {
    const loaded = modules.flatMap(({ path, imports }) =>
      imports
        .filter(({ of, isType }) => of.startsWith('@opentelemetry/') && !isType)
        .map(() => path),
    )
    expect(loaded).toEqual([])
  })

  it('has no circular imports', () => {
    expect(cyclesIn(modules, { types: false })).toEqual([])
    // Types that speak of each other: a request's record holds its fault, which looks at records.
    const testing = ['faults', 'options', 'record'].map(
      (name) => `src/testing/local-blossom/${name}.ts`,
    )
    expect(cyclesIn(modules, { types: true })).toEqual([testing])
  })
})

describe('layers', () => {
  const files = modules.filter(({ path }) => partOf(path) === 'layers')
  /** The layer a file belongs to: its folder, or its own name. */
  const layerOf = (path: string) => /^src\/layers\/([^/]+?)(\/|\.ts$)/.exec(path)?.[1] ?? path
  const SHARED = [
    'src/layers/beyond-json.ts',
    'src/layers/gate.ts',
    'src/layers/last-values.ts',
    'src/layers/named-base.ts',
    'src/layers/stored-form.ts',
    'src/layers/waiter.ts',
    'src/layers/waiting-call.ts',
    'src/layers/waiting-room.ts',
  ]
  const isShared = (path: string) => SHARED.includes(path)
  const layers = new Set(
    files.filter(({ text }) => /\bdefineLayer[<(]/.test(text)).map(({ path }) => layerOf(path)),
  )
  const importersOf = (path: string) =>
    files.filter(({ imports }) => imports.some(({ of }) => of === path)).map((file) => file.path)

  it('are found, and only they are', () => {
    expect(layers.size).toBeGreaterThanOrEqual(8)
    const others = files.filter(({ path }) => !layers.has(layerOf(path))).map(({ path }) => path)
    expect(others).toEqual(SHARED)
  })

  it('do not import each other', () => {
    const known = files.flatMap(({ path, imports }) =>
      imports
        .filter(({ of }) => partOf(of) === 'layers' && !isShared(of))
        .filter(({ of }) => layerOf(of) !== layerOf(path))
        .map(({ of }) => `${path} imports ${of}`),
    )
    expect(known).toEqual([])
  })

  it('keep the library underneath in one file', () => {
    for (const name of ['opossum', 'p-queue', 'p-retry', 'keyv'])
      expect([name, importersOf(name).length]).toEqual([name, 1])
  })
})

describe('examples', () => {
  it('import the package by its entries, as its users do', () => {
    const examples = modulesBelow('examples')
    const wrong = examples
      .flatMap(({ path, imports }) => imports.map(({ of }) => [path, of] as const))
      .filter(
        ([, of]) =>
          of.startsWith('src/') ||
          of.startsWith('dist/') ||
          (packageOf(of) === 'blossom-stack' && !Object.hasOwn(entries, of)),
      )
    expect(examples.length).toBeGreaterThan(5)
    expect(wrong).toEqual([])
  })
})
