import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { createClient } from 'redis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type LocalBlossom, startLocalBlossom } from '../../src/testing/index.js'
import { freePort } from '../support/redis-server.js'
import { readYaml } from '../support/yaml.js'

const root = join(import.meta.dirname, '../..')
const here = join(root, 'examples/docker')
const dockerfile = readFileSync(join(here, 'Dockerfile'), 'utf8')

interface Step {
  word: string
  rest: string
}

/** The Dockerfile's instructions, one list for each stage. */
const stages: Step[][] = []
for (const line of dockerfile
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('\\\n', '')
  .split('\n')) {
  const [, word, rest] = /^(\w+)\s+(.*)$/.exec(line) ?? []
  if (word === undefined || rest === undefined) continue
  if (word === 'FROM') stages.push([])
  stages.at(-1)!.push({ word, rest })
}
const [build, final] = stages as [Step[], Step[]]
const lastOf = (word: string): string => final.findLast((step) => step.word === word)!.rest

/** What the image sets for every process in it. */
const imageEnv = Object.fromEntries(
  lastOf('ENV')
    .split(' ')
    .map((pair) => pair.split('=') as [string, string]),
)
const command = JSON.parse(lastOf('CMD')) as string[]
const healthCheck = JSON.parse(/CMD (\[.*\])$/.exec(lastOf('HEALTHCHECK'))![1]!) as string[]

/** Takes a stage's COPY and RUN in a folder that stands for the image's file system. */
function take(steps: readonly Step[], folder: string, earlier: string): void {
  for (const { word, rest } of steps) {
    if (word === 'RUN')
      execFileSync('sh', ['-c', rest], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    if (word !== 'COPY') continue
    const from = rest.startsWith('--from=build ')
    const words = rest.replace('--from=build ', '').split(' ')
    const target = words.pop()!
    for (const source of words) {
      const file = from ? join(earlier, source.replace(/^\/app\//, '')) : join(root, source)
      const name = target.endsWith('/') ? join(target, source.split('/').at(-1)!) : target
      cpSync(file, join(folder, name), { recursive: true })
    }
  }
}

const isRoot = process.getuid?.() === 0
/** Nobody: like the image's user, one who owns nothing. */
const user = isRoot ? { uid: 65_534, gid: 65_534 } : {}
const argsOf = ([program, ...args]: readonly string[]): [string, string[]] => [
  program === 'node' ? process.execPath : program!,
  args,
]

interface Running {
  readonly process: ChildProcess
  readonly url: string
  readonly env: NodeJS.ProcessEnv
  output: string
}

describe('the container of examples/docker', () => {
  let folder: string
  let image: string
  const started: ChildProcess[] = []

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'blossom-image-'))
    // Another user is to read it.
    chmodSync(folder, 0o755)
    image = join(folder, 'image')
    const built = join(folder, 'build')
    for (const path of [built, image]) mkdirSync(path)
    take(build, built, '')
    take(final, image, built)
    // As with a read-only root, whoever runs these tests.
    execFileSync('chmod', ['-R', 'a-w', image])
  }, 600_000)
  afterAll(() => {
    execFileSync('chmod', ['-R', 'u+w', folder])
    rmSync(folder, { recursive: true, force: true })
  })
  afterEach(async () => {
    for (const child of started.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })

  function launch(more: NodeJS.ProcessEnv, program: readonly string[] = command): Running {
    const env: NodeJS.ProcessEnv = {
      PATH: process.env.PATH,
      ...imageEnv,
      HOST: '127.0.0.1',
      ...more,
    }
    const child = spawn(...argsOf(program), {
      cwd: image,
      env,
      ...user,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    started.push(child)
    const running: Running = {
      process: child,
      url: `http://127.0.0.1:${env.PORT}`,
      env,
      output: '',
    }
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (text) => {
        running.output += text
      })
    }
    return running
  }

  async function start(upstream: LocalBlossom, more: NodeJS.ProcessEnv = {}): Promise<Running> {
    const running = launch({
      PORT: String(await freePort()),
      POLLINATIONS_API_KEY: 'sk_test',
      BLOSSOM_BASE_URL: upstream.url,
      ...more,
    })
    await expect.poll(() => running.output, { timeout: 20_000 }).toContain('"listening"')
    return running
  }

  /** The Redis of a compose file; its data are in the folder. Resolves with its address. */
  async function startRedis(
    [, ...args]: readonly string[],
    port: number,
    dir: string,
  ): Promise<{ url: string; process: ChildProcess }> {
    const child = spawn('redis-server', [...args, '--port', String(port), '--dir', dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    started.push(child)
    let said = ''
    child.stdout.on('data', (text) => {
      said += text
    })
    await expect.poll(() => said, { timeout: 10_000 }).toContain('Ready to accept connections')
    return { url: `redis://127.0.0.1:${port}`, process: child }
  }

  const checkHealth = ({ env }: Running) =>
    spawnSync(...argsOf(healthCheck), { cwd: image, env, ...user }).status
  const post = (url: string, body: object) =>
    fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  it('pins its base image, and has no key and no root in it', () => {
    const bases = stages.map(([from]) => from!.rest.split(' ')[0])
    expect(bases).toHaveLength(2)
    for (const base of bases) expect(base).toMatch(/^node:\d+\.\d+\.\d+-bookworm-slim$/)
    expect(final.filter(({ word }) => word === 'USER').map(({ rest }) => rest)).toEqual(['node'])
    expect(final.findIndex(({ word }) => word === 'USER')).toBeLessThan(
      final.findIndex(({ word }) => word === 'CMD'),
    )
    expect(stages.flat().filter(({ word }) => word === 'ARG')).toEqual([])
    expect(Object.keys(imageEnv).filter((name) => /KEY|TOKEN|SECRET|PASSWORD/.test(name))).toEqual(
      [],
    )
    expect(command[0]).toBe('node')
    expect(healthCheck[0]).toBe('node')
  })

  it('sends Docker what it copies, and neither secrets nor what is built elsewhere', () => {
    const lines = readFileSync(join(here, 'Dockerfile.dockerignore'), 'utf8').split('\n')
    const copied = stages
      .flat()
      .filter(({ word, rest }) => word === 'COPY' && !rest.startsWith('--from'))
      .flatMap(({ rest }) => rest.split(' ').slice(0, -1))
    expect(copied).toContain('package-lock.json')
    const allowed = lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
    expect(allowed.sort()).toEqual(copied.sort())
    for (const name of ['*', '.env', '**/.env', 'node_modules', '.git', 'dist'])
      expect(lines).toContain(name)
  })

  it('holds what the server loads, and nothing that was only needed to build it', () => {
    expect(readdirSync(image).sort()).toEqual([
      'dist',
      'node_modules',
      'package.json',
      'server.mjs',
      'worker.mjs',
    ])
    const modules = join(image, 'node_modules')
    for (const name of ['ws', 'redis', 'bullmq', '@fastify/busboy', 'undici'])
      expect(existsSync(join(modules, name, 'package.json')), name).toBe(true)
    for (const name of ['typescript', 'tsup', 'vitest', 'express'])
      expect(existsSync(join(modules, name)), name).toBe(false)
    expect(statSync(join(image, 'server.mjs')).mode & 0o222).toBe(0)
  })

  it('serves as an unprivileged user, tells its health, and exits 0 on SIGTERM', async () => {
    await using upstream = await startLocalBlossom()
    const running = await start(upstream)
    if (process.platform === 'linux') {
      const [, uid] = /^Uid:\t(\d+)/m.exec(
        readFileSync(`/proc/${running.process.pid}/status`, 'utf8'),
      )!
      expect(Number(uid)).not.toBe(0)
    }
    const answer = await post(`${running.url}/generate/text`, { prompt: 'Hello' })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({
      text: expect.stringContaining('Hello'),
      tokens_used: expect.any(Number),
    })
    expect(checkHealth(running)).toBe(0)
    running.process.kill('SIGTERM')
    expect(await once(running.process, 'exit')).toEqual([0, null])
    expect(checkHealth(running)).toBe(1)
    expect(upstream.requests[0]!.headers.authorization ?? '').not.toBe('')
    expect(running.output).not.toContain('sk_test')
  })

  it('lets an open stream finish after SIGTERM, and takes no new call meanwhile', async () => {
    await using upstream = await startLocalBlossom({ chunkDelayMs: 20, words: 40 })
    const running = await start(upstream)
    const streamed = await post(`${running.url}/generate/stream`, { prompt: 'A long story' })
    running.process.kill('SIGTERM')
    const exited = once(running.process, 'exit')
    // The last 200 is from before the signal arrived.
    const statusOf = (answer: Promise<Response>) =>
      answer.then(({ status }) => status).catch(() => 'refused')
    await expect
      .poll(() => statusOf(fetch(`${running.url}/health/ready`)), { timeout: 5_000 })
      .not.toBe(200)
    expect(await statusOf(post(`${running.url}/generate/text`, { prompt: 'Late' }))).not.toBe(200)
    expect(await streamed.text()).toMatch(/data: \[DONE\]\n\n$/)
    expect(await exited).toEqual([0, null])
    expect(upstream.requests.map(({ outcome }) => outcome)).toEqual(['complete'])
  })

  it.each([
    ['without a key', {}, /POLLINATIONS_API_KEY \(or BLOSSOM_API_KEY\) must be set/],
    [
      'with a wrong value',
      { POLLINATIONS_API_KEY: 'sk_test', BLOSSOM_RETRIES: 'many' },
      /BLOSSOM_RETRIES must be/,
    ],
    ['with a wrong port', { POLLINATIONS_API_KEY: 'sk_test', PORT: 'http' }, /PORT must be/],
  ])('does not start %s, and says so in one line', async (_, env, sentence) => {
    const running = launch({ PORT: String(await freePort()), ...env })
    expect(await once(running.process, 'close')).toEqual([1, null])
    expect(running.output).toMatch(sentence)
    expect(running.output.trim()).not.toContain('\n')
  })

  describe('with the Redis of compose.yaml', () => {
    const compose = readYaml(readFileSync(join(here, 'compose.yaml'), 'utf8')) as {
      services: Record<string, Record<string, unknown>>
    }
    const { server, redis } = compose.services as {
      server: Record<string, unknown>
      redis: Record<string, unknown>
    }
    const settings = server.environment as Record<string, string>
    let upstream: LocalBlossom
    let redisUrl: string

    beforeEach(async () => {
      upstream = await startLocalBlossom({ coalesce: false })
      const running = await startRedis(redis.command as string[], await freePort(), folder)
      redisUrl = running.url
    })
    afterEach(() => upstream.close())

    it('can be scaled: pinned images, a range of ports, a stop that waits long enough', () => {
      expect(redis.image).toMatch(/^redis:\d+\.\d+\.\d+-bookworm$/)
      expect(server.build).toEqual({ context: '../..', dockerfile: 'examples/docker/Dockerfile' })
      expect(server.ports).toEqual([expect.stringMatching(/^127\.0\.0\.1:\d+-\d+:8787$/)])
      expect(imageEnv.PORT).toBe('8787')
      expect(settings).toMatchObject({ HOST: '0.0.0.0', REDIS_URL: 'redis://redis:6379' })
      expect(settings.POLLINATIONS_API_KEY).toMatch(/^\$\{POLLINATIONS_API_KEY:\?/)
      expect([server.restart, redis.restart]).toEqual(['unless-stopped', 'unless-stopped'])
      expect(server.read_only).toBe('true')
      expect(server.container_name).toBeUndefined()
      const stopMs = Number(
        /STOP_MS = ([\d_]+)/
          .exec(readFileSync(join(here, 'server.mjs'), 'utf8'))![1]!
          .replaceAll('_', ''),
      )
      expect(Number.parseInt(server.stop_grace_period as string, 10) * 1_000).toBeGreaterThan(
        stopMs,
      )
    })

    it('shares answers between two servers', async () => {
      const one = await start(upstream, { REDIS_URL: redisUrl })
      const two = await start(upstream, { REDIS_URL: redisUrl })
      const ask = async ({ url }: Running, prompt = 'Share me') =>
        (await (await post(`${url}/generate/cached`, { prompt })).json()) as { cached: boolean }
      const client = await createClient({ url: redisUrl }).connect()
      const stored = async () => (await client.keys('blossom:cache:*')).length
      // A Redis that is not reached in time costs a miss: each server shows first, by questions of
      // its own, that it has reached it.
      for (const server of [one, two]) {
        const before = await stored()
        await expect
          .poll(
            async () => {
              await ask(server, `Is anybody at ${server.url} at ${performance.now()}?`)
              return (await stored()) - before
            },
            { timeout: 20_000 },
          )
          .toBeGreaterThan(0)
      }
      const known = await stored()
      const generations = upstream.generations
      const first = await ask(one)
      expect(first).toEqual({ text: expect.any(String), cached: false })
      // It is stored behind the answer.
      await expect.poll(stored, { timeout: 10_000 }).toBeGreaterThan(known)
      client.destroy()
      expect(await ask(two)).toEqual({ ...first, cached: true })
      expect(upstream.generations).toBe(generations + 1)
      for (const { process: child } of [one, two]) {
        child.kill('SIGTERM')
        expect(await once(child, 'exit')).toEqual([0, null])
      }
    })
  })

  describe('with the Redis of compose.batches.yaml', () => {
    type Service = Readonly<Record<string, unknown>>
    const { services } = readYaml(readFileSync(join(here, 'compose.batches.yaml'), 'utf8')) as {
      services: Readonly<Record<'server' | 'worker' | 'redis', Service>>
    }
    const { server, worker, redis } = services

    it('has two servers and two workers of one image, and a Redis that forgets nothing', () => {
      for (const service of [server, worker]) {
        expect(service).toMatchObject({
          build: { context: '../..', dockerfile: 'examples/docker/Dockerfile' },
          deploy: { replicas: '2' },
          read_only: 'true',
          restart: 'unless-stopped',
        })
        expect(service.container_name).toBeUndefined()
        expect(Number.parseInt(service.stop_grace_period as string, 10)).toBeGreaterThan(25)
      }
      expect(worker.healthcheck).toEqual({ disable: 'true' })
      const settings = (redis.command as string[]).join(' ')
      expect(settings).toContain('--appendonly yes')
      expect(settings).toContain('--maxmemory-policy noeviction')
      expect(redis.volumes).toEqual(['batches:/data'])
    })

    it('takes batches by the official client, and gives all results after a restart of Redis and of a worker', async () => {
      await using upstream = await startLocalBlossom({ latencyMs: 50 })
      const dir = mkdtempSync(join(tmpdir(), 'blossom-redis-'))
      const port = await freePort()
      const kept = redis.command as string[]
      let store = await startRedis(kept, port, dir)
      const environment = async ({ environment }: Service) => ({
        ...(environment as NodeJS.ProcessEnv),
        POLLINATIONS_API_KEY: 'sk_test',
        BLOSSOM_ADMIN_TOKEN: 'a-token-of-sixteen',
        BLOSSOM_BASE_URL: upstream.url,
        BLOSSOM_WORKER_CONCURRENCY: '5',
        LOG_LEVEL: 'info',
        HOST: '127.0.0.1',
        PORT: String(await freePort()),
        REDIS_URL: store.url,
      })
      const open = async (service: Service) => {
        const running = launch(await environment(service), service.command as string[] | undefined)
        await expect.poll(() => running.output, { timeout: 20_000 }).toContain('"level":"info"')
        return running
      }
      const [one, two] = [await open(server), await open(server)]
      const [first] = [await open(worker), await open(worker)]
      const client = ({ url }: Running) =>
        new OpenAI({ apiKey: 'a-token-of-sixteen', baseURL: `${url}/v1` })
      const lines = Array.from({ length: 200 }, (_, i) =>
        JSON.stringify({
          custom_id: `line ${i}`,
          method: 'POST',
          url: '/v1/chat/completions',
          body: { model: 'openai', messages: [{ role: 'user', content: `Question ${i}` }] },
        }),
      )
      const file = await client(one).files.create({
        file: await toFile(Buffer.from(lines.join('\n')), 'questions.jsonl'),
        purpose: 'batch',
      })
      const { id } = await client(one).batches.create({
        input_file_id: file.id,
        endpoint: '/v1/chat/completions',
        completion_window: '24h',
      })
      await upstream.waitFor(({ requests }) => requests.length > 40)
      first.process.kill('SIGTERM')
      store.process.kill('SIGKILL')
      await once(store.process, 'exit')
      store = await startRedis(kept, port, dir)
      const ended = async () => {
        const batch = await client(two)
          .batches.retrieve(id)
          .catch(() => undefined)
        return batch?.status
      }
      await expect.poll(ended, { timeout: 120_000, interval: 500 }).toBe('completed')
      const { output_file_id, request_counts } = await client(two).batches.retrieve(id)
      expect(request_counts).toEqual({ total: 200, completed: 200, failed: 0 })
      const output = await (await client(two).files.content(output_file_id!)).text()
      const ids = output
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).custom_id)
      expect(new Set(ids).size).toBe(200)
      expect(ids).toHaveLength(200)
      rmSync(dir, { recursive: true, force: true })
    }, 180_000)
  })
})

// The steps above need no Docker. Where its daemon runs, the image itself is built and run as well.
function describeImage(): void {
  const docker = (...args: string[]) =>
    execFileSync('docker', args, {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }).trim()
  const tag = `blossom-server-test:${process.pid}`
  let id = ''

  beforeAll(() => {
    docker('build', '--quiet', '--file', 'examples/docker/Dockerfile', '--tag', tag, '.')
    id = docker('run', '--detach', '--read-only', '--env', 'POLLINATIONS_API_KEY=sk_test', tag)
  }, 600_000)
  afterAll(() => {
    if (id !== '') docker('rm', '--force', id)
    docker('rmi', '--force', tag)
  })

  it('becomes healthy, not as root, and exits 0 when it is stopped', async () => {
    await expect
      .poll(() => docker('inspect', '--format', '{{.State.Health.Status}}', id), {
        timeout: 60_000,
        interval: 1_000,
      })
      .toBe('healthy')
    expect(docker('exec', id, 'id', '-u')).not.toBe('0')
    docker('stop', id)
    expect(docker('inspect', '--format', '{{.State.ExitCode}}', id)).toBe('0')
  })
}

if (spawnSync('docker', ['info'], { stdio: 'ignore' }).status === 0)
  describe('the image in Docker', describeImage)
