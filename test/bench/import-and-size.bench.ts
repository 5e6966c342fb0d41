import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import type { Bench } from './bench.js'
import { esbuild, root } from './compile.js'
import {
  COCKATIEL,
  CORE,
  LIBRARY,
  OPENAI,
  POLLINATIONS,
  UNDICI_MODULES,
  VERCEL,
} from './contenders/names.js'
import type { Sample } from './table.js'

const dist = (name: string) => join(root, 'dist', `${name}.js`)

const modules: Readonly<Record<string, string>> = {
  undici: 'undici',
  [LIBRARY]: dist('index'),
  [CORE]: dist('core'),
  'blossom-stack/http': dist('http'),
  [COCKATIEL]: 'cockatiel',
  [POLLINATIONS]: '@pollinations/sdk',
  [OPENAI]: 'openai',
  [VERCEL]: 'ai',
}

/** Milliseconds that `import(name)` takes in a fresh process, and how much of undici it loads. */
async function importing(name: string): Promise<Sample> {
  const program = `
    import { createRequire } from 'node:module'
    const start = performance.now()
    await import(${JSON.stringify(name)})
    const ms = performance.now() - start
    const loaded = Object.keys(createRequire(${JSON.stringify(join(root, 'x.js'))}).cache)
    console.log(ms, loaded.filter((file) => /[\\\\/]undici[\\\\/]/.test(file)).length)`
  const args = ['--input-type=module', '-e', program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
  const [ms = Number.NaN, undici = Number.NaN] = stdout.split(' ').map(Number)
  if (name === 'undici' && !(undici > 0))
    throw new Error('undici is not seen where it is loaded, so nothing is known of the others.')
  return { value: ms, more: { [UNDICI_MODULES]: undici } }
}

/** What a user sends when he bundles `names` of a module, its packages included, in kB of gzip. */
async function size(names: string, from: string): Promise<Sample> {
  const { outputFiles } = await esbuild().build({
    stdin: { contents: `export { ${names} } from ${JSON.stringify(from)}`, resolveDir: root },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    write: false,
    legalComments: 'none',
    logLevel: 'warning',
  })
  const bytes = outputFiles?.[0]?.contents
  if (bytes === undefined) throw new Error(`${from} could not be bundled.`)
  return { value: gzipSync(bytes, { level: 9 }).byteLength / 1_000 }
}

/** What a user pays before the first call. */
export async function run(bench: Bench): Promise<void> {
  const hasCore = existsSync(dist('core'))
  if (!hasCore)
    bench.leaveOut(`${CORE} is left out of the imports, and sized as ${LIBRARY}: no dist/core.js.`)
  const imports = Object.entries(modules)
    .filter(([name]) => hasCore || name !== CORE)
    .map(([name, module]) => [name, () => importing(module)])
  const title = 'import in a fresh process'
  await bench.table('import', title, 'ms', Object.fromEntries(imports), { rounds: 15 })
  await bench.table(
    'size',
    'retry and timeout alone, bundled with their packages, minified and gzipped',
    'kB',
    {
      [hasCore ? CORE : LIBRARY]: () =>
        size('stack, retry, timeout', dist(hasCore ? 'core' : 'index')),
      [COCKATIEL]: () =>
        size('wrap, retry, timeout, handleAll, ExponentialBackoff, TimeoutStrategy', COCKATIEL),
    },
    { rounds: 1, warmUps: 0 },
  )
}
