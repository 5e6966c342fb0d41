/**
 * Starts a server that answers through the whole stack: `npm run demo`, or `npm run demo -- hono`.
 * Without an API key it starts a local upstream that speaks Blossom's wire, and says so.
 * PORT (8787), HOST (127.0.0.1), BLOSSOM_BASE_URL, POLLINATIONS_API_KEY (or BLOSSOM_API_KEY).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const FRAMEWORKS = ['hono']

function stop(sentence) {
  console.error(sentence)
  process.exit(1)
}

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) stop(`The demo needs Node 20.19 or later; this is ${process.version}.`)
const [framework = 'hono'] = process.argv.slice(2)
if (!FRAMEWORKS.includes(framework)) stop(`Unknown framework "${framework}"; there is: ${FRAMEWORKS.join(', ')}.`)
const port = Number(process.env.PORT || 8787)
if (!Number.isInteger(port) || port < 0 || port > 65_535) stop(`PORT must be a port number from 0 to 65535, got "${process.env.PORT}".`)
const host = process.env.HOST || '127.0.0.1'
if (!existsSync(join(root, 'node_modules', 'tsup'))) stop('The dependencies are missing; run `npm ci` first.')

buildWhenStale()
const { register } = await import('tsx/esm/api')
register()
const { breaker, cache, createBlossom, dedupe, pool, queue, retry, timeout } = await import('blossom-stack')
const { createApp } = await import(pathToFileURL(join(root, 'examples', `${framework}.ts`)).href)
const { serve } = await import('@hono/node-server')

const apiKey = process.env.POLLINATIONS_API_KEY || process.env.BLOSSOM_API_KEY || undefined
let baseURL = process.env.BLOSSOM_BASE_URL || undefined
let upstream
if (apiKey === undefined && baseURL === undefined) {
  if (process.env.NODE_ENV === 'production') stop('Set POLLINATIONS_API_KEY: in production there is no local upstream to play with.')
  const { startLocalBlossom } = await import('blossom-stack/testing')
  upstream = await startLocalBlossom({ chunkDelayMs: 30 })
  baseURL = upstream.url
}

let blossom
try {
  blossom = createBlossom({ ...(apiKey && { apiKey }), ...(baseURL && { baseURL }) }).use(
    cache(),
    dedupe(),
    timeout({ ms: 60_000, streamMs: 15 * 60_000, firstTokenMs: 60_000 }),
    retry(),
    breaker(),
    queue(),
    timeout({ name: 'attempt', ms: 30_000, streamMs: 15 * 60_000 }),
    pool(),
  )
} catch (error) {
  // A wrong address or key: the sentence names it, a stack trace adds nothing.
  stop(error.message)
}

const server = serve({ fetch: createApp(blossom).fetch, port, hostname: host }, (address) => {
  const shown = address.address.includes(':') ? `[${address.address}]` : address.address
  const url = `http://${shown}:${address.port}`
  console.log(`\nblossom-stack is ready: ${url} (${framework})`)
  console.log(upstream ? `No API key is set, so a local Blossom answers: ${baseURL}` : `Upstream: ${baseURL ?? 'https://gen.pollinations.ai'}`)
  console.log('\nTry it from another terminal:\n')
  const data = (prompt) => `-H 'content-type: application/json' -d '{"prompt":"${prompt}"}'`
  console.log(`  curl ${url}/generate/text ${data('Why do flowers bloom?')}`)
  console.log(`  curl -N ${url}/generate/stream ${data('Tell me a story about a garden')}`)
  console.log(`  curl ${url}/health/live\n\nCtrl-C stops it.`)
})
server.on('error', (error) => {
  if (error.code === 'EADDRINUSE') stop(`Port ${port} is taken: stop what listens there, or choose another one with PORT=${port + 1} npm run demo.`)
  stop(`The server could not start on ${host}:${port}: ${error.message}`)
})

let stopping = false
async function shutDown() {
  if (stopping) process.exit(1)
  stopping = true
  server.close()
  await blossom.close({ timeoutMs: 10_000 })
  await upstream?.close()
  server.closeAllConnections()
  process.exit(0)
}
process.on('SIGINT', shutDown)
process.on('SIGTERM', shutDown)

/** Builds when `dist` is missing or something it is made of has changed since. */
function buildWhenStale() {
  const made = ['index.js', 'testing.js'].map((file) => join(root, 'dist', file))
  const missing = made.some((file) => !existsSync(file))
  const madeAt = missing ? 0 : Math.min(...made.map((file) => statSync(file).mtimeMs))
  const sources = readdirSync(join(root, 'src'), { recursive: true }).map((file) => join(root, 'src', String(file)))
  const changed = [...sources, join(root, 'package.json'), join(root, 'tsup.config.ts')].some((file) => statSync(file).mtimeMs > madeAt)
  if (!missing && !changed) return
  console.log(missing ? 'Building the library (about ten seconds) …' : 'The sources have changed; building the library …')
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules/tsup/dist/cli-default.js')], { cwd: root, encoding: 'utf8' })
  if (status !== 0) stop(`The build failed:\n${stdout}\n${stderr}`)
}
