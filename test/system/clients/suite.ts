import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createGateway, type RequestLog, toNode } from '../../../src/gateway/index.js'
import { createBlossom } from '../../../src/index.js'
import { breaker } from '../../../src/layers/breaker/index.js'
import { cache } from '../../../src/layers/cache/index.js'
import { dedupe } from '../../../src/layers/dedupe/index.js'
import { pool } from '../../../src/layers/pool/index.js'
import { queue } from '../../../src/layers/queue/index.js'
import { retry } from '../../../src/layers/retry/index.js'
import { timeout } from '../../../src/layers/timeout.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { installPackage } from '../../support/packed.js'

const PROGRAMS = join(import.meta.dirname, 'programs')
const TEXT = 'Tulips come from Turkey, and they bloom in April.'
/** How soon upstream stops for a client who has left. Milliseconds. */
const SOON = 500

export interface Client {
  /** The file of its program. */
  readonly program: string
  /** Whether it reads the sentence of an error in OpenAI's shape. */
  readonly readsErrors: boolean
  readonly steps: readonly Step[]
  /** What was stored as JSON is not served as a stream, nor the reverse. */
  readonly convertsForms?: false
  /** It passes over the events that report a failure in the middle. */
  readonly missesBreaks?: true
  /** What the gateway does with its requests, for clients of the Responses API. */
  readonly responses?: 'translate' | 'forward'
}

type Step =
  | 'chat'
  | 'stream'
  | 'leave'
  | 'tools'
  | 'streamTools'
  | 'structure'
  | 'usage'
  | 'embeddings'

interface Failure {
  readonly message: string
  readonly status: number | undefined
}

type Message = { readonly id: number; readonly output?: unknown; readonly error?: Failure }

/** A process in which one client runs. */
class ClientProcess {
  readonly #child: ChildProcess
  readonly #answers = new EventEmitter()
  #asked = 0

  constructor(node: string, folder: string, program: string, baseURL: string) {
    const { PATH } = process.env
    this.#child = spawn(node, ['run.mjs', program, baseURL], {
      cwd: folder,
      env: { PATH, OPENAI_API_KEY: 'any' },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#child.on('message', (message: Message) => {
      this.#answers.emit('id' in message ? `${message.id}` : 'ready', message)
    })
    this.#child.once('exit', (code) => {
      if (code !== 0) this.#answers.emit('error', new Error(`${program} ended with ${code}.`))
    })
  }

  async ready(): Promise<void> {
    await once(this.#answers, 'ready')
  }

  /** Runs a step, and resolves with what came of it or what was thrown. */
  async run(step: Step, input: unknown): Promise<Message> {
    const id = ++this.#asked
    const answered = once(this.#answers, `${id}`)
    this.#child.send({ id, step, input })
    return (await answered)[0]
  }

  async output<T>(step: Step, input: unknown): Promise<T> {
    const { output, error } = await this.run(step, input)
    if (error) throw new Error(`${step}: ${error.message}`)
    return output as T
  }

  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    if (this.#child.exitCode === null) await once(this.#child, 'exit')
  }
}

/** A gateway on node:http before a local Blossom, for one client after the other. */
class Site {
  readonly log: RequestLog[] = []
  readonly upstream: LocalBlossom
  readonly #logged = new EventEmitter()
  readonly #blossom
  readonly #gateway
  readonly #server: Server

  private constructor(upstream: LocalBlossom, responses: Client['responses']) {
    this.upstream = upstream
    this.#blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
      cache(),
      dedupe(),
      timeout({ ms: 10_000 }),
      retry({ retries: 1, minDelayMs: 1, maxDelayMs: 1, budget: false }),
      breaker({ minimumCalls: 1_000 }),
      queue({ concurrency: 4 }),
      pool({ connections: 4 }),
    )
    this.#gateway = createGateway(this.#blossom, {
      responses,
      log: (entry) => {
        this.log.push(entry)
        this.#logged.emit('entry')
      },
    })
    this.#server = createServer(toNode(this.#gateway))
  }

  static async open(responses: Client['responses']): Promise<Site> {
    const upstream = await startLocalBlossom({
      coalesce: false,
      models: ['gpt-4o-mini'],
      reply: ({ rawBody }) => (rawBody.includes('tulips') ? TEXT : undefined),
      words: ({ rawBody }) => (rawBody.includes('novel') ? 20_000 : 0),
      wordsPerChunk: ({ rawBody }) => (rawBody.includes('novel') ? 10 : 1),
    })
    const site = new Site(upstream, responses)
    await once(site.#server.listen(0, '127.0.0.1'), 'listening')
    return site
  }

  get baseURL(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`
  }

  async logged(entries: number): Promise<void> {
    while (this.log.length < entries) await once(this.#logged, 'entry')
  }

  reset(): void {
    this.log.length = 0
    this.upstream.reset()
  }

  /** Resolves when the stack holds nothing any more. */
  idle(): Promise<void> {
    const held = () => {
      const { queue, pool } = this.#blossom.stats()
      return [queue.running, pool.active]
    }
    return expect.poll(held, { timeout: 5_000 }).toEqual([0, 0])
  }

  async close(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await this.#gateway.close({ timeoutMs: 0 })
    await this.#blossom.close({ timeoutMs: 0 })
    await this.upstream.close()
  }
}

/** Tries the clients of one folder of packages against the gateway. */
export function testClients(group: string, node: string, clients: readonly Client[]): void {
  let folder: string
  beforeAll(async () => {
    folder = await installPackage(group, PROGRAMS)
  })

  let asked = 0
  /** A question that no cache has seen. */
  const fresh = (about: string) => `Tell me about ${about}, number ${++asked}.`

  const named = clients.map((client) => ({
    ...client,
    name: [client.program, client.responses].filter(Boolean).join(', '),
  }))
  describe.each(named)(
    '$name',
    ({ program, steps, readsErrors, responses, missesBreaks, convertsForms = true }) => {
      let site: Site
      let client: ClientProcess
      beforeAll(async () => {
        site = await Site.open(responses)
        client = new ClientProcess(node, folder, program, site.baseURL)
        await client.ready()
      })
      afterAll(async () => {
        await client?.close()
        await site?.close()
      })
      beforeEach(() => site.reset())

      const itCan = (step: Step, name: string, run: () => Promise<void>) => {
        if (steps.includes(step)) it(name, { timeout: 20_000 }, run)
      }
      /** Runs a step twice: the second time the answer comes from the cache. */
      const twice = async <T>(step: Step, input: unknown): Promise<T> => {
        const first = await client.output<T>(step, input)
        const { length } = site.upstream.requests
        const second = await client.output<T>(step, input)
        expect(second).toEqual(first)
        expect(site.upstream.requests).toHaveLength(length)
        await site.logged(2)
        expect(site.log.at(0)).toMatchObject({ status: 200, cached: false })
        expect(site.log.at(-1)).toMatchObject({ status: 200, cached: true })
        return first
      }

      itCan('chat', 'gets an answer, fresh and from the cache', async () => {
        expect(await twice('chat', fresh('tulips'))).toBe(TEXT)
      })

      itCan('stream', 'streams an answer, fresh and from the cache', async () => {
        expect(await twice('stream', fresh('tulips'))).toBe(TEXT)
      })

      if (steps.includes('chat') && convertsForms)
        it('gets as a stream what was stored as JSON, and the reverse', async () => {
          for (const order of [
            ['chat', 'stream'],
            ['stream', 'chat'],
          ] as const) {
            const prompt = fresh('tulips')
            for (const step of order) expect(await client.output(step, prompt)).toBe(TEXT)
          }
        })

      itCan('leave', 'leaves a stream half-way, and upstream stops', async () => {
        site.upstream.fault({ stallAfterChunks: 3 })
        await client.output('leave', fresh('tulips'))
        await site.upstream.waitFor(({ active }) => active === 0, SOON)
        await site.idle()
        await site.logged(1)
        expect(site.log).toMatchObject([{ status: 499 }])
      })

      itCan(
        'leave',
        'leaves a stream from the cache half-way, and the next one is whole',
        async () => {
          const prompt = fresh('a novel')
          const whole = await client.output('stream', prompt)
          await client.output('leave', prompt)
          await site.logged(2)
          await site.idle()
          expect(site.log[1]).toMatchObject({ cached: true })
          expect(await client.output('stream', prompt)).toBe(whole)
          expect(site.upstream.requests).toHaveLength(1)
        },
      )

      itCan('tools', 'calls a tool, fresh and from the cache', async () => {
        const called = await twice('tools', fresh('the weather: call the tool'))
        expect(called).toMatchObject({ name: 'weather', input: { city: expect.any(String) } })
      })

      itCan('streamTools', 'calls a tool in a stream, fresh and from the cache', async () => {
        const called = await twice('streamTools', fresh('the weather: call the tool'))
        expect(called).toMatchObject({ name: 'weather', input: { city: expect.any(String) } })
      })

      itCan('structure', 'gets the structure it asks for, fresh and from the cache', async () => {
        expect(await twice('structure', fresh('a city'))).toEqual({ city: expect.any(String) })
      })

      itCan('usage', 'gets the usage at a stream’s end, fresh and from the cache', async () => {
        expect(await twice('usage', fresh('tulips'))).toBeGreaterThan(5)
      })

      itCan('embeddings', 'gets embeddings, fresh and from the cache', async () => {
        const vectors = await twice<number[][]>('embeddings', [fresh('one'), fresh('two')])
        expect(vectors).toHaveLength(2)
        for (const vector of vectors) {
          expect(vector.length).toBeGreaterThan(1)
          expect(Math.hypot(...vector)).toBeCloseTo(1, 3)
        }
      })

      itCan('stream', 'throws for an error before the stream begins', async () => {
        site.upstream.fail(422, 10)
        for (const step of ['chat', 'stream'] as const) {
          if (!steps.includes(step)) continue
          const { error } = await client.run(step, fresh('tulips'))
          expect([step, error]).toMatchObject([step, { message: expect.any(String) }])
          if (error?.status !== undefined) expect([step, error.status]).toEqual([step, 422])
          if (readsErrors) expect(error?.message).toContain('Upstream answered 422')
        }
      })

      if (!missesBreaks)
        itCan('stream', 'throws for a stream that breaks', async () => {
          site.upstream.fault({ cutAfterChunks: 3, chunkDelayMs: 5 })
          const { error } = await client.run('stream', fresh('tulips'))
          expect(error?.message).toEqual(expect.any(String))
          await site.idle()
        })
    },
  )
}
