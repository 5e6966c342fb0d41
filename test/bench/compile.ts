import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { entries } from '../support/entries.js'

declare const BENCH_ROOT: string | undefined

/** The project's folder; what is compiled lies elsewhere and has been told. */
export const root =
  typeof BENCH_ROOT === 'string' ? BENCH_ROOT : join(import.meta.dirname, '..', '..')

interface Plugin {
  readonly name: string
  setup(build: {
    onResolve(
      options: { filter: RegExp },
      resolve: (args: { path: string }) => { path: string; external: boolean },
    ): void
  }): void
}

/** What is used of esbuild, which comes with tsup. */
export interface Esbuild {
  build(options: object): Promise<{ outputFiles?: readonly { readonly contents: Uint8Array }[] }>
}

export const esbuild = (): Esbuild =>
  createRequire(createRequire(join(root, 'package.json')).resolve('tsup'))('esbuild') as Esbuild

/** The library as users get it, or `source` as it stands. */
const library = (source: boolean): Plugin => ({
  name: 'library',
  setup: (build) =>
    build.onResolve({ filter: /^blossom-stack(\/|$)/ }, ({ path }) => {
      const part = path.split('/')[1]
      if (source) return { path: join(root, entries[path] ?? path), external: false }
      return { path: join(root, 'dist', `${part ?? 'index'}.js`), external: true }
    }),
})

export interface Compiled {
  readonly folder: string
  remove(): void
}

/**
 * Compiles the benchmarks to plain JavaScript and gives the folder. `source`: with the library's
 * source instead of what has been built of it. A loader that keeps functions' names would make
 * every closure of a contender dearer than those of a package.
 */
export async function compile({ source = false } = {}): Promise<Compiled> {
  if (!source && !existsSync(join(root, 'dist', 'index.js')))
    throw new Error('There is no dist; run `npm run build` first.')
  // Within the project, where its packages are found.
  const caches = join(root, 'node_modules', '.cache')
  mkdirSync(caches, { recursive: true })
  const outdir = mkdtempSync(join(caches, 'blossom-stack-bench-'))
  const remove = () => rmSync(outdir, { recursive: true, force: true })
  const here = relative(root, import.meta.dirname)
  const programs = readdirSync(import.meta.dirname).filter(
    (file) => file.endsWith('.bench.ts') || ENTRIES.includes(file),
  )
  await esbuild().build({
    absWorkingDir: root,
    entryPoints: programs.map((file) => join(here, file)),
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    plugins: [library(source)],
    define: { BENCH_ROOT: JSON.stringify(root) },
    logLevel: 'warning',
  })
  return { folder: outdir, remove }
}

/** Programs that run in processes of their own. */
const ENTRIES: readonly string[] = [
  'one.ts',
  'turn-process.ts',
  'upstream.ts',
  'work-count.ts',
  'survivors.ts',
  'gateway-server.ts',
]
