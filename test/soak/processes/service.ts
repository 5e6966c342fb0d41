import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createClient } from 'redis'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { FaultProxy } from '../../support/fault-proxy.js'
import { RedisServer } from '../../support/redis-server.js'

/** What became of the calls that were begun in one phase. */
export interface Phase {
  calls: number
  /** Answers that were not the one to this prompt, whole and once. */
  wrong: number
  /** By code, and the code of the cause. */
  failed: Record<string, number>
  /** How long each took that did not fail. */
  ms: number[]
}

/** What one process tells at the end. */
export interface Told {
  /** Calls that have not ended although there was time. */
  readonly open: number
  readonly phases: Readonly<Record<string, Phase>>
  readonly stats: {
    readonly operations: number
    readonly alone: number
    readonly processes: number
  }
  readonly layers: {
    readonly dedupe: { readonly elsewhere: number }
    readonly cache: { readonly hits: number }
  }
}

/** Something that happens to Redis, and is over again. */
interface Trouble {
  readonly name: string
  begin(service: Service): unknown
  end(service: Service): unknown
}

const TROUBLES: readonly Trouble[] = [
  {
    name: 'frozen',
    begin: ({ redis }) => redis.freeze(),
    end: ({ redis }) => redis.thaw(),
  },
  {
    name: 'killed',
    begin: ({ redis }) => redis.kill(),
    end: ({ redis }) => redis.start(),
  },
  {
    name: 'full',
    begin: ({ config }) => config('maxmemory', '1'),
    end: ({ config }) => config('maxmemory', '0'),
  },
  {
    name: 'wiped',
    begin: ({ command }) => command('FLUSHALL'),
    end: () => {},
  },
  {
    name: 'read-only',
    begin: ({ command }) => command('REPLICAOF', '127.0.0.1', '1'),
    end: ({ command }) => command('REPLICAOF', 'NO', 'ONE'),
  },
  {
    name: 'cut off',
    begin: ({ way }) => way.refuse(),
    end: ({ way }) => way.restore(),
  },
]

/** Several processes of one service under load, with the Redis that they share. */
export class Service {
  readonly redis: RedisServer
  /** Between the processes and Redis. */
  readonly way: FaultProxy
  readonly upstream: LocalBlossom
  readonly #children: ChildProcess[] = []

  private constructor(redis: RedisServer, way: FaultProxy, upstream: LocalBlossom) {
    this.redis = redis
    this.way = way
    this.upstream = upstream
  }

  /** @param rate calls a second of each process */
  static async start(count: number, rate: number, which = 'shared'): Promise<Service> {
    const redis = await RedisServer.start()
    const upstream = await startLocalBlossom({
      latencyMs: 30,
      chunkDelayMs: 2,
      coalesce: false,
      reply: ({ body }) => `The answer to ${promptOf(body)} is this.`,
    })
    const service = new Service(redis, await FaultProxy.to(redis.port), upstream)
    await Promise.all(Array.from({ length: count }, () => service.#join(rate, which)))
    return service
  }

  async #join(rate: number, which: string): Promise<void> {
    const url = this.way.url.replace('http', 'redis')
    const args = [url, this.upstream.url, String(rate), which]
    const child = fork(join(import.meta.dirname, 'child.ts'), args, {
      execArgv: ['--import', 'tsx'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    this.#children.push(child)
    await once(child, 'message')
  }

  phase(name: string): void {
    for (const child of this.#children) child.send({ phase: name })
  }

  /** Ends the load, and tells what each process has to tell. */
  async end(): Promise<readonly Told[]> {
    return Promise.all(
      this.#children.map(async (child) => {
        const told = once(child, 'message')
        child.send({ end: true })
        return ((await told) as [Told])[0]
      }),
    )
  }

  /** Sends one command past the way. */
  readonly command = async (...words: string[]): Promise<string> => {
    const client = createClient({ url: this.redis.url })
    client.on('error', () => {})
    await client.connect()
    const reply = await client.sendCommand(words)
    client.destroy()
    return String(reply)
  }

  readonly config = (name: string, value: string): Promise<string> =>
    this.command('CONFIG', 'SET', name, value)

  async remove(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    await this.way.refuse().catch(() => {})
    await this.redis.remove()
    await this.upstream.close()
  }
}

function promptOf(body: unknown): string {
  const { messages } = body as { messages: readonly { content: string }[] }
  return messages.at(-1)?.content ?? ''
}

/** How long each part of a trouble takes. Milliseconds. */
export interface Times {
  /** The first failures, from which the processes learn that Redis is in trouble. */
  readonly first: number
  readonly trouble: number
  /** Until everything is shared again. */
  readonly back: number
}

const turn = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** One trouble after another, behind a calm time. */
export async function throughTroubles(service: Service, times: Times): Promise<void> {
  service.phase('calm')
  await turn(times.trouble)
  for (const trouble of TROUBLES) {
    service.phase(`${trouble.name}, at first`)
    await trouble.begin(service)
    await turn(times.first)
    service.phase(trouble.name)
    await turn(times.trouble)
    await trouble.end(service)
    service.phase(`after ${trouble.name}`)
    await turn(times.back)
  }
}

/** The phases of all processes together. */
export function together(told: readonly Told[]): Map<string, Phase> {
  const all = new Map<string, Phase>()
  for (const { phases } of told)
    for (const [name, { calls, wrong, failed, ms }] of Object.entries(phases)) {
      const sum = all.get(name) ?? { calls: 0, wrong: 0, failed: {}, ms: [] }
      all.set(name, sum)
      sum.calls += calls
      sum.wrong += wrong
      sum.ms.push(...ms)
      for (const [code, count] of Object.entries(failed))
        sum.failed[code] = (sum.failed[code] ?? 0) + count
    }
  return all
}

/** The time that a share of the calls stays below. Milliseconds. */
export function quantile(ms: readonly number[], share: number): number {
  const sorted = [...ms].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}
