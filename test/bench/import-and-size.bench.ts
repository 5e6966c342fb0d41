import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import type { Bench } from './bench.js'
import { esbuild, root } from './compile.js'
import { LIBRARY } from './contenders/names.js'

const run1 = promisify(execFile)
const dist = (name: string) => join(root, 'dist', `${name}.js`)

const modules: Readonly<Record<string, string>> = {
  undici: 'undici',
  [LIBRARY]: dist('index'),
  'blossom-stack and blossom-stack/http': dist('http'),
  cockatiel: 'cockatiel',
  '@pollinations/sdk': '@pollinations/sdk',
  openai: 'openai',
  'ai (Vercel)': 'ai',
}

/** Milliseconds that `import(name)` takes in a process that has done nothing yet. */
async function importing(name: string): Promise<number> {
  const program = `const start = performance.now(); await import(${JSON.stringify(name)}); console.log(performance.now() - start)`
  const { stdout } = await run1(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
  })
  return Number(stdout)
}

/** Bytes of our own code after minifying and gzip; packages stay outside. */
async function size(file: string): Promise<number> {
  const { outputFiles } = await esbuild().build({
    entryPoints: [file],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    write: false,
    legalComments: 'none',
    logLevel: 'warning',
  })
  const bytes = outputFiles?.[0]?.contents
  if (bytes === undefined) throw new Error(`${file} could not be bundled.`)
  return gzipSync(bytes, { level: 9 }).byteLength / 1_000
}

/** What a user pays before the first call. */
export async function run(bench: Bench): Promise<void> {
  const turns = Object.entries(modules).map(([name, module]) => [name, () => importing(module)])
  await bench.table('import', 'import in a fresh process', 'ms', 15, Object.fromEntries(turns))
  await bench.table(
    'size',
    'our code without its dependencies, minified and gzipped',
    'kB',
    1,
    {
      [LIBRARY]: () => size(dist('index')),
      'blossom-stack/http, with what it uses of it': () => size(dist('http')),
      'blossom-stack/testing': () => size(dist('testing')),
    },
    0,
  )
}
