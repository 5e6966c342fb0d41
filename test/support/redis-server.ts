import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'

/**
 * A real Redis of this test's own, that can be ended, frozen and started again on the same port.
 */
export class RedisServer {
  readonly port: number
  readonly #folder = mkdtempSync(join(tmpdir(), 'blossom-redis-'))
  #process: ChildProcess | undefined

  readonly #more: readonly string[]

  private constructor(port: number, more: readonly string[]) {
    this.port = port
    this.#more = more
  }

  /** `more`: further settings of the program. */
  static async start(...more: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), more)
    await server.start()
    return server
  }

  async start(): Promise<void> {
    const args = [
      '--port',
      String(this.port),
      '--bind',
      '127.0.0.1',
      '--save',
      '',
      '--appendonly',
      'no',
      '--dir',
      this.#folder,
      ...this.#more,
    ]
    const redis = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#process = redis
    const failed = once(redis, 'error').then(([error]) => {
      throw new Error(
        'These tests need the program redis-server; install it (apt-get install redis-server).',
        { cause: error },
      )
    })
    failed.catch(() => {})
    const ready = (async () => {
      for await (const line of redis.stdout!)
        if (String(line).includes('Ready to accept connections')) return
    })()
    await Promise.race([ready, failed])
    // Nobody reads on, and a full pipe would stop it.
    redis.stdout?.resume()
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async kill(): Promise<void> {
    const redis = this.#process
    if (redis === undefined) return
    redis.kill('SIGKILL')
    if (redis.exitCode === null && redis.signalCode === null) await once(redis, 'exit')
  }

  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  async remove(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A client that asks nothing of a Redis that is away, and connects again soon. */
export async function impatientClient(url: string) {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: { reconnectStrategy: 50 },
  })
  client.on('error', () => {})
  await client.connect()
  return client
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
