import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, inject, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const run = (command: string, args: string[], cwd: string): string =>
  execFileSync(command, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32',
  })

/** Where Markdown's links and pictures lead, without addresses of the web and anchors. */
const relativeLinksOf = (markdown: string): string[] =>
  [...markdown.matchAll(/\]\(([^)\s#]+)|src="([^"]+)"/g)]
    .map(([, link, picture]) => (link ?? picture)!)
    .filter((link) => !/^[a-z]+:/.test(link))

/** The first stack of the README, as a stranger would paste it. */
const FIRST_STACK = `
const upstream = await startLocalBlossom()
const blossom = createBlossom({ baseURL: upstream.url }).use(...standard())
const first = await blossom.text.generate('Hello')
const second = await blossom.text.generate('Hello')
let streamed = ''
for await (const piece of await blossom.text.stream('Hello')) streamed += piece.text
console.log(JSON.stringify({ same: first.text === second.text, cached: second.cached, streamed: streamed === first.text }))
await blossom.close()
await upstream.close()
`

/** A program in TypeScript over every entry. */
const TYPED = `
import { createServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { createBlossom, defineLayer, queue, retry, stack, standard, type Blossom } from 'blossom-stack'
import type { ChatBody } from 'blossom-stack/client'
import { stack as stackOfCore } from 'blossom-stack/core'
import { attachWebSocket, createGateway, toNode, toRequest } from 'blossom-stack/http'
import { scripted, startLocalBlossom } from 'blossom-stack/testing'
const blossom = createBlossom().use(retry(), queue())
const waiting: number = blossom.stats().queue.waiting
// @ts-expect-error there is no breaker in this stack
blossom.stats().breaker
const double = stack(async (n: number) => n * 2, retry())
const answer: Promise<number> = double(2)
const triple: Promise<number> = stackOfCore(async (n: number) => n * 3, retry())(2)
const gateway = createGateway(blossom)
const server = createServer(toNode(gateway))
attachWebSocket(server, gateway)
createHttp2Server(toNode(gateway))
// What may be undefined can be passed on.
export async function close(given: {
  timeoutMs: number | undefined
  retries: number | undefined
  prefix: string | undefined
  temperature: number | undefined
  kind: string | undefined
}): Promise<void> {
  const { timeoutMs, retries, prefix, temperature, kind } = given
  const body: ChatBody = { messages: [], temperature, stream_options: undefined }
  const layer = defineLayer({ name: 'mine', kind, close: undefined, wrap: (next) => next })
  createGateway(createBlossom().use(retry({ retries }), layer), { prefix })
  await blossom.chat.create(body)
  await gateway.close({ timeoutMs })
  await blossom.close({ timeoutMs })
  const upstream = await startLocalBlossom()
  upstream.fault({ status: timeoutMs })
}
export { answer, blossom, scripted, standard, toRequest, triple, waiting, type Blossom }
`

describe('the packed tarball', () => {
  const { tarball, files, consumer } = inject('packed')
  const folder = join(consumer, 'first')
  mkdirSync(folder, { recursive: true })

  it('holds the build, the examples, the pages and their pictures, and nothing else', () => {
    const expected =
      /^(dist\/|examples\/|package\.json$|LICENSE$|(src\/.*|test\/.*|[^/]+)\.(md|svg)$)/
    expect(files.filter((path) => !expected.test(path))).toEqual([])
  })

  it('holds what its pages link to', () => {
    const pages = files.filter((path) => path.endsWith('.md') && path !== 'CONTRIBUTING.md')
    const broken = pages.flatMap((page) =>
      relativeLinksOf(readFileSync(join(root, page), 'utf8'))
        .map((link) => posix.join(posix.dirname(page), link))
        .filter((path) => !files.some((file) => file === path || file.startsWith(`${path}/`)))
        .map((path) => `${page}: ${path}`),
    )
    expect(pages.length).toBeGreaterThan(20)
    expect(broken).toEqual([])
  })

  it('runs the first stack as ESM', () => {
    const imports = `import { createBlossom, standard } from 'blossom-stack'\nimport { startLocalBlossom } from 'blossom-stack/testing'\n`
    writeFileSync(join(folder, 'first.mjs'), imports + FIRST_STACK)
    expect(JSON.parse(run(process.execPath, ['first.mjs'], folder))).toEqual({
      same: true,
      cached: true,
      streamed: true,
    })
  })

  it('runs the first stack as CommonJS', () => {
    const imports = `const { createBlossom, standard } = require('blossom-stack')\nconst { startLocalBlossom } = require('blossom-stack/testing')\n`
    writeFileSync(
      join(folder, 'first.cjs'),
      `${imports}async function main() {${FIRST_STACK}}\nmain()\n`,
    )
    expect(JSON.parse(run(process.execPath, ['first.cjs'], folder))).toEqual({
      same: true,
      cached: true,
      streamed: true,
    })
  })

  it('tells its errors apart across its ESM and CommonJS copies', () => {
    const script = `
import { createRequire } from 'node:module'
import { TimeoutError, StackError, isStackError } from 'blossom-stack'
const other = createRequire(import.meta.url)('blossom-stack')
const error = new other.TimeoutError(5)
class Mine extends TimeoutError {}
console.log(JSON.stringify([other.TimeoutError !== TimeoutError, error instanceof TimeoutError, error instanceof StackError, isStackError(error, 'TIMEOUT'), error instanceof Mine]))
`
    writeFileSync(join(folder, 'copies.mjs'), script)
    expect(JSON.parse(run(process.execPath, ['copies.mjs'], folder))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ])
  })

  it.each([
    ['node10', 'commonjs', ['ts']],
    ['node16', 'node16', ['mts', 'cts']],
    ['nodenext', 'nodenext', ['mts', 'cts']],
    ['bundler', 'esnext', ['ts']],
  ])(
    'type-checks under moduleResolution %s with module %s',
    (moduleResolution, module, extensions) => {
      const folder = mkdtempSync(join(consumer, 'types-'))
      const files = extensions.map((extension) => `consumer.${extension}`)
      for (const file of files) writeFileSync(join(folder, file), TYPED)
      const compilerOptions = {
        strict: true,
        exactOptionalPropertyTypes: true,
        noEmit: true,
        target: 'es2022',
        lib: ['es2023', 'esnext.disposable'],
        skipLibCheck: false,
        module,
        moduleResolution,
        // TypeScript 6 wants to be told that node10 is meant.
        ...(moduleResolution === 'node10' && { ignoreDeprecations: '6.0' }),
        types: ['node'],
        typeRoots: [join(root, 'node_modules/@types')],
      }
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
      const tsc = join(root, 'node_modules/typescript/bin/tsc')
      expect(run(process.execPath, [tsc, '-p', 'tsconfig.json'], folder)).toBe('')
    },
  )

  it('passes publint', () => {
    expect(
      run(
        process.execPath,
        [join(root, 'node_modules/publint/src/cli.js'), 'run', tarball, '--strict'],
        root,
      ),
    ).toContain('All good')
  })

  it('passes arethetypeswrong', () => {
    const output = run(
      process.execPath,
      [join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js'), tarball],
      root,
    )
    // A problem is also an exit code of its own, and `run` throws.
    const judged = output.replace(/\(ignored[^\n]*/g, '')
    for (const entry of ['blossom-stack', 'blossom-stack/http', 'blossom-stack/testing'])
      expect(judged).toContain(`"${entry}"`)
    expect(judged).not.toMatch(/💀|❌|👺|🎭|🐛|🚭/u)
  })
})
