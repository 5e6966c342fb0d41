import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import * as library from '../src/index.js'
import { startLocalBlossom } from '../src/testing/index.js'
import {
  type Block,
  findPages,
  isPromised,
  promisedOutput,
  readBlocks,
} from './support/readme-blocks.js'

const root = join(import.meta.dirname, '..')
const files = findPages(root)
const blocks = files.flatMap((file) => readBlocks(root, file))
/** Files of the system tests, which install what they import. */
const recipes = blocks.filter(({ use }) => use === 'recipe')
const code = blocks.filter(
  ({ language, use }) => ['ts', 'js', 'mjs'].includes(language) && use !== 'recipe',
)
const used = (use: string) => code.filter((block) => block.use === use)

/** The package's entries as folders below `src`. */
const entries = {
  'blossom-stack': '.',
  'blossom-stack/batches': './batches',
  'blossom-stack/client': './client',
  'blossom-stack/http': './gateway',
  'blossom-stack/telemetry': './telemetry',
  'blossom-stack/testing': './testing',
}

/** What fragments take for granted. */
const AMBIENT = `declare const blossom: import('blossom-stack').Blossom<readonly unknown[]>`

/**
 * Stands before the servers: gives them what they take for granted, and a port of their own, which
 * it tells.
 */
const PRELUDE = `
import { Server } from 'node:net'
import { createBlossom, standard } from 'blossom-stack'
import { startLocalBlossom } from 'blossom-stack/testing'
globalThis.blossom = createBlossom({ baseURL: (await startLocalBlossom()).url }).use(...standard())
const { listen } = Server.prototype
Server.prototype.listen = function (port, ...rest) {
  if (port !== 8787) return listen.call(this, port, ...rest)
  this.once('listening', () => process.send(this.address().port))
  return listen.call(this, 0, ...rest)
}
`

/**
 * Type errors of the blocks, each with the place in the markdown file. JavaScript is checked less
 * strictly: it has no types to infer from.
 */
function typeErrors(checked: readonly Block[]): string[] {
  const extension = ({ language, name }: Block) =>
    name?.endsWith('.cjs') ? 'cjs' : language === 'ts' ? 'mts' : 'mjs'
  const nameOf = (block: Block) =>
    block.use === 'save' ? block.name! : `block-${block.slug}.${extension(block)}`
  const named = new Map(checked.map((block) => [`${root}/${nameOf(block)}`, block]))
  const ambient = `${root}/block-ambient.d.ts`
  const texts = new Map([
    ...[...named].map(([name, block]) => [name, block.code] as const),
    [ambient, AMBIENT],
  ])
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(
    { ...config, files: [], include: [] },
    ts.sys,
    root,
  )
  Object.assign(options, {
    allowJs: true,
    checkJs: true,
    moduleDetection: ts.ModuleDetectionKind.Force,
  })
  options.paths = Object.fromEntries(
    Object.entries(entries).map(([name, path]) => [name, [join(root, 'src', path, 'index.ts')]]),
  )
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (name) => texts.has(name) || fileExists.call(host, name)
  host.readFile = (name) => texts.get(name) ?? readFile.call(host, name)
  const program = ts.createProgram([...texts.keys()], options, host)
  const diagnostics = [...texts.keys()].flatMap((name) => {
    const source = program.getSourceFile(name)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
  })
  return [...program.getGlobalDiagnostics(), ...diagnostics].flatMap(
    ({ file, start = 0, code, messageText }) => {
      const block = file && named.get(file.fileName)
      const text = ts.flattenDiagnosticMessageText(messageText, '\n')
      if (file === undefined || block === undefined) return [text]
      const isUntyped = block.language !== 'ts' && code >= 7000 && code < 8000
      return isUntyped
        ? []
        : [`${block.file}:${block.line + file.getLineAndCharacterOfPosition(start).line}: ${text}`]
    },
  )
}

/** TypeScript as a program that node runs, with line numbers that hold. */
function toJavaScript(fileName: string, text: string): string {
  const compilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    inlineSourceMap: true,
  }
  return ts.transpileModule(text, { fileName, compilerOptions }).outputText
}

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

describe('the pages', () => {
  let folder: string
  const children = new Set<ChildProcess>()
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'readme-'))
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction')
    // The sources under the package's own name, so that no build is needed.
    for (const file of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue
      const path = join(folder, 'lib', file.replace(/ts$/, 'js'))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, toJavaScript(file, readFileSync(join(root, 'src', file), 'utf8')))
    }
    const exports = Object.entries(entries).map(
      ([name, path]) =>
        [
          name.replace('blossom-stack', '.'),
          `./${join('lib', path, 'index.js').replaceAll('\\', '/')}`,
        ] as const,
    )
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({
        name: 'blossom-stack',
        type: 'module',
        exports: Object.fromEntries(exports),
      }),
    )
    // The longer name first: the shorter one is its beginning.
    const alias = Object.entries(entries).map(
      ([name, path]) => [name, join(folder, 'lib', path, 'index.js')] as const,
    )
    const config = {
      resolve: { alias: Object.fromEntries(alias.reverse()) },
      test: { include: ['**/*.test.mjs'] },
    }
    writeFileSync(join(folder, 'vitest.config.mjs'), `export default ${JSON.stringify(config)}`)
    writeFileSync(join(folder, 'prelude.mjs'), PRELUDE)
    const servers = join(folder, 'servers')
    mkdirSync(servers)
    for (const block of used('save'))
      writeFileSync(
        join(servers, block.name!.replace(/ts$/, 'js')),
        toJavaScript(block.name!, block.code),
      )
  }, 60_000)
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  /** Saves a block in a folder of its own and gives its path. */
  const save = (block: Block, name = block.name ?? 'block.mjs'): string => {
    const home = join(folder, block.slug)
    mkdirSync(home, { recursive: true })
    const path = join(home, name)
    writeFileSync(
      path,
      block.language === 'ts' ? toJavaScript('block.mts', block.code) : block.code,
    )
    return path
  }
  /** Starts node as a reader would: no API key, nothing of this test's own runner. */
  const start = (args: string[], cwd: string, env: Record<string, string> = {}): ChildProcess => {
    const kept = Object.entries(process.env).filter(
      ([name]) => !/^(VITEST|NODE_|POLLINATIONS_|BLOSSOM_)/.test(name),
    )
    const child = spawn(process.execPath, args, {
      cwd,
      env: { ...Object.fromEntries(kept), NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    children.add(child)
    child.once('close', () => children.delete(child))
    return child
  }
  /** What the page on streams gives to pages in a browser. */
  const readerOfPages = () =>
    import(pathToFileURL(join(folder, 'servers/read-stream.js')).href) as Promise<{
      readStream(url: string, prompt: string, onText: (text: string) => void): Promise<void>
    }>
  const finish = async (child: ChildProcess): Promise<Ended> => {
    const said = { stdout: '', stderr: '' }
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (said.stdout += text))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (said.stderr += text))
    const [status] = (await once(child, 'close')) as [number | null]
    return { status, ...said }
  }

  it('marks its blocks with words that mean something', () => {
    const unknown = blocks.filter(
      ({ use }) => use !== undefined && !['run', 'serve', 'save', 'vitest', 'recipe'].includes(use),
    )
    expect(unknown.map(({ at, use }) => `${at}: ${use}`)).toEqual([])
    expect(used('run').length).toBeGreaterThan(5)
    expect(used('serve').length).toBe(4)
  })

  it('shows the recipes as the system tests run them, and all of them', () => {
    const folder = join(root, 'test/system/mounts/programs/recipes')
    expect(recipes.map(({ name }) => name).sort()).toEqual(readdirSync(folder).sort())
    for (const { at, name, code } of recipes)
      expect(code, at).toBe(readFileSync(join(folder, name!), 'utf8'))
  })

  it('has blocks without type errors', { timeout: 60_000 }, () => {
    expect(typeErrors(code)).toEqual([])
  })

  it.concurrent.each(used('run'))(
    'runs $at and prints what it promises',
    { timeout: 60_000 },
    async (block) => {
      const path = save(block)
      const { status, stdout, stderr } = await finish(
        start(['--enable-source-maps', path], dirname(path)),
      )
      expect(status, `${block.at} failed:\n${stderr}`).toBe(0)
      const promised = promisedOutput(block)
      const printed = stdout.replace(/\n$/, '').split('\n')
      if (promised.length === 0) return
      const wrong = promised.findIndex((text, i) => !isPromised(printed[i], text))
      if (wrong < 0 && printed.length === promised.length) return
      expect.fail(
        `${block.at} promises\n  ${promised.join('\n  ')}\nand prints\n  ${printed.join('\n  ')}`,
      )
    },
  )

  it.concurrent.each(used('vitest'))(
    'passes the tests of $at',
    { timeout: 60_000 },
    async (block) => {
      const path = save(block, 'block.test.mjs')
      const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--root', folder, path]
      const { status, stdout, stderr } = await finish(start(args, folder))
      expect(status, `${block.at} failed:\n${stdout}\n${stderr}`).toBe(0)
    },
  )

  it('reads the failure of a stream as the page on streams does', async () => {
    const { readStream } = await readerOfPages()
    const reading = async (source: () => AsyncGenerator<object>, done?: false) => {
      const events = library.toServerSentEvents(source(), done === false ? { done } : {})
      vi.stubGlobal('fetch', async () => new Response(library.toWebStream(events)))
      onTestFinished(() => void vi.unstubAllGlobals())
      let text = ''
      const failure = await readStream('/stream', 'Hello', (piece) => {
        text += piece
      }).catch((error: Error) => error.message)
      return [text, failure]
    }
    async function* broken() {
      yield { text: 'one\n\ntwo' }
      throw new library.QueueFullError(1)
    }
    async function* whole() {
      yield { text: 'all' }
    }
    expect(await reading(broken)).toEqual(['one\n\ntwo', expect.stringMatching(/waiting/)])
    expect(await reading(whole)).toEqual(['all', undefined])
    expect(await reading(whole, false)).toEqual(['all', 'The connection broke.'])
  })

  it.concurrent.each(used('serve'))('serves by $at', { timeout: 60_000 }, async (block) => {
    const isCommonJs = block.name?.endsWith('.cjs')
    const path = join(folder, 'servers', `${block.slug}.${isCommonJs ? 'cjs' : 'mjs'}`)
    writeFileSync(path, isCommonJs ? block.code : toJavaScript('server.mts', block.code))
    const child = start(['--enable-source-maps', '--import', '../prelude.mjs', path], dirname(path))
    const ended = finish(child)
    const port = await Promise.race([
      once(child, 'message').then(([told]) => told as number),
      ended.then(({ stderr }) => expect.fail(`${block.at} ended:\n${stderr}`)),
    ])
    const url = `http://127.0.0.1:${port}`
    const post = (route: string, body: string) =>
      fetch(url + route, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    const text = await post('/text', '{"prompt":"Hello"}')
    expect(await text.json()).toEqual({ text: expect.stringContaining('Hello') })
    const stream = await post('/stream', '{"prompt":"Hello"}')
    expect(stream.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(await stream.text()).toMatch(/^data: \{"text":"[^"]+"\}\n\n[\s\S]*data: \[DONE\]\n\n$/)
    const { readStream } = await readerOfPages()
    let read = ''
    await readStream(`${url}/stream`, 'Hello', (piece) => {
      read += piece
    })
    expect(read).toContain('Hello')
    for (const body of ['{"prompt":""}', '{"prompt":5}', '{}']) {
      const refused = await post('/stream', body)
      expect(refused.headers.get('content-type')).toMatch(/^application\/problem\+json/)
      expect([body, refused.status]).toEqual([body, 400])
      expect(await refused.json()).toMatchObject({ code: 'VALIDATION' })
    }
    for (const body of ['no JSON', 'null']) {
      const refused = await post('/stream', body)
      expect([body, refused.status]).toEqual([body, 400])
      expect(await refused.json()).toMatchObject({ code: 'VALIDATION' })
    }
    // On Windows there is no SIGTERM, only an immediate end.
    const stops = block.code.includes("'SIGTERM'") && process.platform !== 'win32'
    child.kill(stops ? 'SIGTERM' : 'SIGKILL')
    const { status, stderr } = await ended
    if (stops) expect(status, stderr).toBe(0)
  })
})

describe("the pages' tables", () => {
  const page = (file: string) => readFileSync(join(root, file), 'utf8')
  const text = page('README.md')
  /** The page of a layer: beside its file, or in its folder. */
  const pageOf = (layer: string) =>
    page(
      layer === 'timeout'
        ? 'src/layers/timeout.md'
        : `src/layers/${layer.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}/README.md`,
    )
  const names = (cell: string) => [...cell.matchAll(/`(\w+)`/g)].map((match) => match[1]!)
  const layers = {
    timeout: library.timeout,
    retry: library.retry,
    fallback: library.fallback,
    hedge: library.hedge,
    breaker: library.breaker,
    queue: library.queue,
    rateLimit: library.rateLimit,
    pool: library.pool,
    cache: library.cache,
    dedupe: library.dedupe,
    batcher: library.batcher,
  } as unknown as Record<string, (options?: object) => library.Layer>
  const required: Readonly<Record<string, object>> = {
    timeout: { ms: 1 },
    fallback: { to: ['mistral'] },
    rateLimit: { requests: 1 },
  }

  /** The names that the refusal of an unknown one lists. */
  const optionsIn = (make: () => unknown): string[] => {
    try {
      make()
      return []
    } catch (error) {
      return (error as Error).message.replace(/^.*expected one of |\.$/g, '').split(', ')
    }
  }

  it.each(Object.keys(layers))('name all options of %s', (layer) => {
    const options = optionsIn(() => layers[layer]!({ nonsense: true }))
    // The first table; others are of options within options.
    const table = /^## Options\n[^|]*((?:^\|.*\n)*)/m.exec(pageOf(layer))?.[1] ?? ''
    const rows = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1])
    const all = (names: readonly (string | undefined)[]) => names.filter((name) => name !== 'name')
    expect(all(rows)).toEqual(all(options))
  })

  it.each(Object.keys(layers))('name all stats of %s', (layer) => {
    const row = new RegExp(`^\\| \\[\`${layer}\`\\].*\\|(.*)\\|$`, 'm').exec(text)
    const stats = Object.keys(layers[layer]!(required[layer] ?? {}).stats())
    expect(names(row?.[1] ?? '')).toEqual(stats)
  })

  it.each(Object.keys(layers))('have all parts on the page of %s', (layer) => {
    const parts = [...pageOf(layer).matchAll(/^## (.*)$/gm)].map((match) => match[1]!)
    const wanted = ['About', 'When to use it', 'Options', 'Stats', 'Patterns', 'Anti-patterns']
    expect(parts.filter((part) => wanted.includes(part))).toEqual(wanted)
  })

  describe('of the local Blossom', () => {
    const text = page('src/testing/README.md')
    /** The names in the first column of the table with this head. */
    const column = (head: string) => {
      const table = new RegExp(`^\\| ${head} \\|.*\n((?:\\|.*\n)*)`, 'm').exec(text)?.[1] ?? ''
      return [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell]) => names(cell!)).sort()
    }

    it('name all options', async () => {
      const refusal = await startLocalBlossom({ nonsense: true } as object).catch(
        (error: Error) => error,
      )
      const known = optionsIn(() => {
        throw refusal
      })
      expect(column('option')).toEqual(known.sort())
    })

    it('name all fields of a fault and of a request', async () => {
      await using upstream = await startLocalBlossom()
      await fetch(upstream.url)
      expect(column('field \\|')).toEqual(Object.keys(upstream.requests[0]!).sort())
      const known = optionsIn(() => upstream.fault({ nonsense: true } as object))
      expect(column('field \\| value')).toEqual(known.sort())
    })
  })

  it('name all traits of a base', () => {
    const table = /^\| trait \|.*\n((?:\|.*\n)*)/m.exec(page('src/core/README.md'))?.[1] ?? ''
    const rows = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell]) => [
      ...cell!.matchAll(/`(\w+)/g),
    ])
    const known = optionsIn(() => library.base(async () => 1, { nonsense: true } as object))
    expect(rows.map(([, trait]) => trait).sort()).toEqual(known.sort())
  })

  it('name all error codes with their classes', () => {
    const rows = [...page('src/core/CALLS.md').matchAll(/^\| `([A-Z_]+)` \| `(\w+)` \|/gm)].map(
      (match) => [match[1], match[2]] as const,
    )
    expect(rows.filter(([, name]) => !Object.hasOwn(library, name!))).toEqual([])
    const type =
      /export type ErrorCode =([\s\S]*?)\n\n/.exec(
        readFileSync(join(root, 'src/core/errors.ts'), 'utf8'),
      )?.[1] ?? ''
    expect(rows.map(([code]) => code).sort()).toEqual(
      [...type.matchAll(/'(\w+)'/g)].map((match) => match[1]).sort(),
    )
  })

  it('name all dependencies', () => {
    const page = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8')
    const section = /^## Dependencies\n([\s\S]*?)^## /m.exec(page)?.[1] ?? ''
    const rows = [...section.matchAll(/^\| `([@a-z/-]+)` \|/gm)].map((match) => match[1]!)
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      dependencies: object
    }
    expect(rows.sort()).toEqual(Object.keys(dependencies).sort())
  })
})

describe('the size', () => {
  it.each(files)('of %s is one that is read to its end', (file) => {
    const largest = file === 'README.md' ? 14_336 : 20_000
    const { byteLength } = readFileSync(join(root, file))
    const advice = `${file} is ${byteLength - largest} bytes too long: shorten it or move a section to another page.`
    expect(byteLength, advice).toBeLessThanOrEqual(largest)
  })
})

describe('the links', () => {
  const slugsOf = (file: string) =>
    [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      title!
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    )

  it.each(files)('of %s lead somewhere', (file) => {
    // In code a bracket before a parenthesis is no link.
    const markdown = readFileSync(join(root, file), 'utf8').replace(/^```[\s\S]*?^```/gm, '')
    const links = [...markdown.matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => match[1]!)
      .filter((link) => !link.startsWith('http'))
    const leads = (link: string) => {
      const [path = '', slug] = link.split('#')
      const target = path === '' ? join(root, file) : join(root, dirname(file), path)
      return existsSync(target) && (slug === undefined || slugsOf(target).includes(slug))
    }
    expect(links.filter((link) => !leads(link))).toEqual([])
  })
})
