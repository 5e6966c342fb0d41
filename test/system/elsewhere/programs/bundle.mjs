/** `node bundle.mjs NAME FOLDER`: bundles server.mjs, and prints what the bundler reports. */
const [, , name, folder] = process.argv

async function esbuild(options) {
  const { build } = await import('esbuild')
  const { errors, warnings } = await build({
    entryPoints: ['server.mjs'],
    bundle: true,
    platform: 'node',
    logLevel: 'silent',
    ...options,
  }).catch((failed) => failed)
  return { errors: errors.map(({ text }) => text), warnings: warnings.map(({ text }) => text) }
}

async function webpack() {
  const { default: compile } = await import('webpack')
  const options = {
    mode: 'production',
    // Only takes time.
    optimization: { minimize: false },
    target: 'node20',
    entry: './server.mjs',
    output: { path: folder, filename: 'server.cjs' },
  }
  const stats = await new Promise((resolve, reject) => {
    compile(options, (error, result) => (error ? reject(error) : resolve(result)))
  })
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true })
  const messageOf = ({ message }) => message
  return { errors: errors.map(messageOf), warnings: warnings.map(messageOf) }
}

// Packages in CommonJS want a `require` that a bundle of modules does not have.
const REQUIRE = `import { createRequire as requireOf } from 'node:module'
const require = requireOf(import.meta.url)`

const builds = {
  'esbuild, CommonJS': () => esbuild({ outfile: `${folder}/server.cjs` }),
  'esbuild, modules': () =>
    esbuild({ outfile: `${folder}/server.mjs`, format: 'esm', banner: { js: REQUIRE } }),
  webpack,
}
console.log(JSON.stringify(await builds[name]()))
