/**
 * Starts one of the example servers with all routes of the gateway: `npm run demo`, or
 * `npm run demo -- express`. With `--traffic` it also sends calls to itself, so that the live page
 * has something to show. Without an API key and a base URL it starts a local upstream, and prints
 * that it does. All settings are environment variables: PORT (8787), HOST (127.0.0.1), and those of
 * `blossomFromEnv()` and `gatewayOptionsFromEnv()`.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '..')
const FRAMEWORKS = ['hono', 'express', 'koa', 'fastify', 'nest', 'node-http']

function stop(sentence) {
  console.error(sentence)
  process.exit(1)
}

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19))
  stop(`The demo needs Node 20.19 or later; this is ${process.version}.`)
const words = process.argv.slice(2)
const hasTraffic = words.includes('--traffic')
const [framework = 'hono', ...others] = words.filter((word) => word !== '--traffic')
const unknown = [framework, ...others].find((word) => word.startsWith('-'))
if (unknown) stop(`Unknown option "${unknown}"; there is: --traffic.`)
if (!FRAMEWORKS.includes(framework))
  stop(`Unknown framework "${framework}"; there is: ${FRAMEWORKS.join(', ')}.`)
const port = Number(process.env.PORT || 8787)
if (!Number.isInteger(port) || port < 0 || port > 65_535)
  stop(`PORT must be a port number from 0 to 65535, got "${process.env.PORT}".`)
const host = process.env.HOST || '127.0.0.1'
if (!existsSync(join(root, 'node_modules', 'tsup')))
  stop('The dependencies are missing; run `npm ci` first.')

buildWhenStale()
const { register } = await import('tsx/esm/api')
register()
const { blossomFromEnv, createGateway, gatewayOptionsFromEnv } = await import('blossom-stack/http')
const { start } = await import(pathToFileURL(join(here, `${framework}.ts`)).href)
const { stopOnSignals } = await import(pathToFileURL(join(here, 'shutdown.ts')).href)

const env = { ...process.env }
const isProduction = env.NODE_ENV === 'production'
const hasKey = Boolean(env.POLLINATIONS_API_KEY?.trim() || env.BLOSSOM_API_KEY?.trim())
const isForwarding = env.BLOSSOM_FORWARD_KEYS?.trim() === 'on'
let upstream
if (!hasKey && !isForwarding) {
  if (isProduction)
    stop('Set POLLINATIONS_API_KEY: in production there is no local upstream to play with.')
  if (!env.BLOSSOM_BASE_URL?.trim()) {
    const { startLocalBlossom } = await import('blossom-stack/testing')
    upstream = await startLocalBlossom({ chunkDelayMs: 30 })
    env.BLOSSOM_BASE_URL = upstream.url
  }
  // The client requires a key. The local upstream and your own may ignore it.
  env.POLLINATIONS_API_KEY = 'no-key-is-set'
}
if (hasTraffic && !upstream)
  stop('Traffic is only made for the local Blossom: elsewhere it would cost you something.')
const hasAdminToken = Boolean(env.BLOSSOM_ADMIN_TOKEN?.trim())
if (!hasAdminToken) env.BLOSSOM_ADMIN_TOKEN = randomBytes(18).toString('base64url')

let blossom
let gateway
try {
  blossom = blossomFromEnv(env)
  // A log line for each of its own calls would hide everything else.
  if (hasTraffic) env.LOG_LEVEL ||= 'silent'
  gateway = createGateway(blossom, {
    ...gatewayOptionsFromEnv(env),
    ...(hasTraffic && {
      call: (request) => ({ tenant: request.headers.get('x-tenant') ?? undefined }),
    }),
  })
} catch (error) {
  // An invalid value: the message names the variable, so no stack trace is needed.
  stop(error.message)
}

let server
try {
  server = await start(blossom, gateway, port, host)
} catch (error) {
  if (error.code === 'EADDRINUSE')
    stop(
      `Port ${port} is taken: stop what listens there, or choose another one with PORT=${port + 1} npm run demo.`,
    )
  stop(`The server could not start on ${host}:${port}: ${error.message}`)
}
leadToTheLivePage()
process.once('SIGINT', () =>
  console.log('Stopping: what runs may finish. Ctrl-C once more ends it at once.'),
)
// With `--traffic`, do not wait long for the demo's own calls.
stopOnSignals({ server, gateway, blossom, timeoutMs: hasTraffic ? 1_000 : 10_000 })

const address = server.address()
// 0.0.0.0 and :: mean all addresses; print the loopback address, which works on this machine.
const shown =
  { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[address.address] ??
  (address.family === 'IPv6' ? `[${address.address}]` : address.address)
const url = `http://${shown}:${address.port}`
const json = (body) => `-H 'content-type: application/json' -d '${body}'`
console.log(`\nblossom-stack is ready: ${url} (${framework})`)
if (upstream) console.log(`No API key is set, so a local Blossom answers: ${upstream.url}`)
else
  console.log(
    `Upstream: ${env.BLOSSOM_BASE_URL?.trim() || 'https://gen.pollinations.ai'}${hasKey || isForwarding ? '' : ', without an API key'}`,
  )
console.log('\nTry it from another terminal:\n')
console.log(`  curl ${url}/generate/text ${json('{"prompt":"Why do flowers bloom?"}')}`)
console.log(
  `  curl -N ${url}/generate/stream ${json('{"prompt":"Tell me a story about a garden"}')}`,
)
console.log(`  curl ${url}/health\n`)
console.log(`What the stack is doing, live: ${url}/live (sign in with the admin token)`)
console.log(`All routes, to try in a browser: ${url}/docs`)
console.log(`A WebSocket: ${url.replace('http', 'ws')}/ws/generate`)
console.log(
  `The admin token: ${hasAdminToken ? 'the one in BLOSSOM_ADMIN_TOKEN' : env.BLOSSOM_ADMIN_TOKEN}`,
)
console.log(
  hasTraffic
    ? '\nIt makes calls to itself: some fail, some wait, some come from the cache. Ctrl-C stops it.'
    : '\nEach request is logged below. Ctrl-C stops it. With --traffic the live page has something to show.',
)
if (hasTraffic) void makeTraffic()

/** Redirects `GET /` to the live page, in any framework. */
function leadToTheLivePage() {
  const served = server.listeners('request')
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    if (!/^\/(\?|$)/.test(request.url) || !/^(GET|HEAD)$/.test(request.method)) {
      for (const serve of served) serve.call(server, request, response)
      return
    }
    response.writeHead(302, { location: '/live', 'cache-control': 'no-store' }).end()
  })
}

/** Sends calls of three tenants in waves, many of them identical. Sometimes upstream fails. */
async function makeTraffic() {
  const tenants = ['garden', 'kitchen', 'library']
  for (let i = 0; server.listening; i++) {
    const wave = 1 + Math.sin(i / 60)
    // Enough faults in a row that sometimes the retries fail as well.
    if (i % 400 === 300) for (let n = 0; n < 12; n++) upstream.fault({ status: 503 })
    const isStream = Math.random() < 0.6
    const subject = Math.random() < 0.4 ? i % 7 : i
    fetch(`${url}/generate/${isStream ? 'stream' : 'cached'}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-tenant': tenants[i % 3] },
      body: JSON.stringify({ prompt: `Tell me of flower ${subject}.` }),
    })
      .then((answer) => answer.text())
      .catch(() => {})
    await sleep(60 + 220 * Math.random() * (2.2 - wave))
  }
}

/** Builds the library if `dist` is missing or older than the sources. */
function buildWhenStale() {
  const made = ['index.js', 'http.js', 'testing.js'].map((file) => join(root, 'dist', file))
  const missing = made.some((file) => !existsSync(file))
  const madeAt = missing ? 0 : Math.min(...made.map((file) => statSync(file).mtimeMs))
  const sources = readdirSync(join(root, 'src'), { recursive: true }).map((file) =>
    join(root, 'src', String(file)),
  )
  const changed = [...sources, join(root, 'package.json'), join(root, 'tsup.config.ts')].some(
    (file) => statSync(file).mtimeMs > madeAt,
  )
  if (!missing && !changed) return
  console.log(
    missing
      ? 'Building the library, which may take half a minute …'
      : 'The sources have changed; building the library …',
  )
  const tsup = join(root, 'node_modules/tsup/dist/cli-default.js')
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [tsup], {
    cwd: root,
    encoding: 'utf8',
  })
  if (signal) process.exit(130)
  if (status !== 0) stop(`The build failed:\n${stdout}\n${stderr}`)
}
