import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import type { RequestLog } from '../../../src/gateway/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'
import { CERTIFICATES } from '../../support/certificates.js'
import { ask, begin } from '../../support/http-client.js'
import { http2Client } from '../../support/http2-client.js'
import type { MountClient, Stats } from './checks.js'

/** With nothing in front of the gateway, or with all that operators usually have there. */
export type Kind = 'bare' | 'full'

export type Protocol = 'http' | 'https' | 'http2'

type Ports = Readonly<Record<Kind, number>>
type Message = { ports: Ports } | { log: RequestLog } | { stats: Stats }

/** A process with the servers of one mount, and an upstream of its own. */
export class MountServer {
  readonly upstream: LocalBlossom
  readonly #child: ChildProcess
  readonly #log = new Map<string, RequestLog>()
  #ports: Ports | undefined
  #stats: Stats | undefined
  /** Emits after a message has been taken in, so that none is missed. */
  readonly #heard = new EventEmitter()

  private constructor(child: ChildProcess, upstream: LocalBlossom) {
    this.#child = child
    this.upstream = upstream
    child.on('message', (message: Message) => {
      if ('ports' in message) this.#ports = message.ports
      if ('log' in message) this.#log.set(message.log.requestId, message.log)
      if ('stats' in message) this.#stats = message.stats
      this.#heard.emit('message')
    })
    child.once('exit', (code) => {
      if (code !== 0) this.#heard.emit('error', new Error(`The server ended with ${code}.`))
    })
  }

  static async start(folder: string, program: string, kinds: readonly Kind[]) {
    // Two checks never ask the same, but shared generations would outlive their clients.
    const upstream = await startLocalBlossom({ coalesce: false })
    const child = spawn(process.execPath, ['serve.mjs', program, ...kinds], {
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        UPSTREAM: upstream.url,
        TLS_KEY: CERTIFICATES.good.key,
        TLS_CERT: CERTIFICATES.good.cert,
      },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const server = new MountServer(child, upstream)
    await server.#until(() => server.#ports)
    return server
  }

  client(kind: Kind, protocol: Protocol): MountClient & { close(): void } {
    const address = `127.0.0.1:${this.#ports?.[kind]}`
    const { cert: ca } = CERTIFICATES.good
    if (protocol === 'http2') return http2Client(`https://${address}`, ca)
    return protocol === 'https'
      ? http1Client(`https://${address}`, ca)
      : http1Client(`http://${address}`)
  }

  /** The line that the gateway has logged for a request. */
  logged = (requestId: string): Promise<RequestLog> => this.#until(() => this.#log.get(requestId))

  /** The stack's stats. */
  stats = (): Promise<Stats> => {
    this.#stats = undefined
    this.#child.send({ question: 'stats' })
    return this.#until(() => this.#stats)
  }

  /** Looks again at every message of the process. */
  async #until<T>(read: () => T | undefined): Promise<T> {
    for (;;) {
      const value = read()
      if (value !== undefined) return value
      await once(this.#heard, 'message')
    }
  }

  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    if (this.#child.exitCode === null) await once(this.#child, 'exit')
    await this.upstream.close()
  }
}

function http1Client(url: string, ca?: string): MountClient & { close(): void } {
  return {
    ask: (path, what) => ask(url, path, { ...what, ...(ca && { ca }) }),
    async leave(path, what, when) {
      const sent = begin(url, path, { ...what, ...(ca && { ca }) }).on('error', () => {})
      if (when === 'begun') {
        const [response] = await once(sent, 'response')
        await once(response, 'data')
      } else await when
      sent.destroy()
    },
    close() {},
  }
}
