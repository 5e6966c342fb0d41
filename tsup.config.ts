import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { defineConfig, type Options } from 'tsup'
import packageJson from './package.json' with { type: 'json' }

// Removed here once: tsup's own `clean` runs per format and may delete what the other has just
// written.
rmSync('dist', { recursive: true, force: true })
mkdirSync('dist')

/**
 * Packages without a CommonJS form. Node loads them from CommonJS, but Jest and older bundlers do
 * not, so the CommonJS build holds them.
 */
const ESM_ONLY = ['is-network-error', 'p-queue', 'p-retry']

const NOTICES = 'dist/THIRD-PARTY-NOTICES.txt'

const entry = {
  index: 'src/index.ts',
  batches: 'src/batches/index.ts',
  client: 'src/client/index.ts',
  core: 'src/core.ts',
  http: 'src/gateway/index.ts',
  redis: 'src/redis/index.ts',
  telemetry: 'src/telemetry/index.ts',
  testing: 'src/testing/index.ts',
}

/**
 * Each layer in a file of its own, so that bundlers leave out those that are not used together with
 * the packages that they bring.
 */
const layers = Object.fromEntries(
  readdirSync('src/layers')
    .map((name) => (name.includes('.') ? name : `${name}/index.ts`))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => [`layers/${file.replace(/(\/index)?\.ts$/, '')}`, `src/layers/${file}`]),
)

const common: Options = {
  entry,
  target: 'node20.19',
  platform: 'node',
  clean: false,
  splitting: true,
  // No module is loaded for its effects: esbuild would warn users of an import without names.
  treeshake: { moduleSideEffects: false },
}

/** Of package.json, which the sources import for the version, nothing else is bundled. */
const versionOnly: NonNullable<Options['esbuildPlugins']>[number] = {
  name: 'version-only',
  setup({ onLoad }) {
    onLoad({ filter: /package\.json$/ }, () => ({
      contents: JSON.stringify({ version: packageJson.version }),
      loader: 'json',
    }))
  },
}

export default defineConfig([
  // The types of both formats come from one run, which takes longest.
  {
    ...common,
    format: ['esm', 'cjs'],
    dts: { only: true, compilerOptions: { ignoreDeprecations: '6.0' } },
  },
  {
    ...common,
    format: 'esm',
    entry: { ...entry, ...layers },
    esbuildPlugins: [versionOnly],
  },
  {
    ...common,
    format: 'cjs',
    noExternal: ESM_ONLY,
    esbuildOptions(options) {
      // CommonJS has no import.meta; what needs it takes a file's name as well.
      options.define = { ...options.define, 'import.meta.url': '__filename' }
    },
    esbuildPlugins: [
      versionOnly,
      {
        name: 'notices',
        setup({ initialOptions, onEnd }) {
          initialOptions.metafile = true
          onEnd(({ metafile }) => {
            writeFileSync(NOTICES, noticesOf(Object.keys(metafile?.inputs ?? {})))
          })
        },
      },
    ],
  },
])

/** The licences of the packages among the files that were bundled. */
function noticesOf(files: readonly string[]): string {
  const folders = files.flatMap((file) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [])
  const notices = [...new Set(folders)].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'))
    const file = ['license', 'LICENSE', 'LICENSE.md'].find((one) => existsSync(`${folder}/${one}`))
    if (file === undefined) throw new Error(`${name} has no licence to include.`)
    return `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, 'utf8').trim()}\n`
  })
  const head = 'The CommonJS build of blossom-stack holds these packages. Their licences:\n'
  return [head, ...notices].join(`\n${'-'.repeat(80)}\n\n`)
}
