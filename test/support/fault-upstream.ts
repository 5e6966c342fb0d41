import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createSecureServer, type Server as SecureServer } from 'node:tls'
import { type Seen, takeRequest } from './bare-server.js'
import { CERTIFICATES, type CertificateName } from './certificates.js'
import { goodAnswer, tokenOf } from './good-answers.js'

/** One request as the upstream saw it. */
export interface Received extends Seen {
  /** The call it belongs to, by the mark in its prompt. */
  readonly token: string
  /** When it had arrived whole, on the `performance.now()` clock. */
  readonly at: number
  /** `open` until it is answered, or its connection is gone. */
  state: 'open' | 'answered' | 'gone'
}

/** A connection from its opening to its end, on the `performance.now()` clock. */
export interface Connection {
  readonly openedAt: number
  closedAt: number | undefined
}

/** What a fault is played on: one request and its socket. */
export interface Line {
  readonly request: Received
  readonly socket: Socket
  readonly gone: boolean
  /** Resolves when more may be sent, or when nobody is there any more. */
  send(bytes: string | Uint8Array): Promise<void>
  /** The answer is whole; the connection stays for the next request. */
  answered(): void
  /** Ends our side. */
  end(bytes?: string | Uint8Array): void
  reset(): void
  /** Repeats it until the connection is gone. */
  every(ms: number, tick: () => unknown): void
}

/** What the upstream does with a request. When it has returned, only time passes. */
export type Play = (line: Line) => unknown
/** What the upstream does with a connection, before any request. */
export type AcceptPlay = (socket: Socket) => unknown

/**
 * An upstream of bare sockets, for what an HTTP server is too polite to do. It answers each request
 * properly, with an echo of the mark in its prompt, unless a fault is to be played; and keeps what
 * it saw.
 */
export class FaultUpstream implements AsyncDisposable {
  readonly requests: Received[] = []
  readonly connections: Connection[] = []
  /** Bytes handed to sockets. */
  sent = 0
  /** Faults played so far that have come to the point from where only time passes. */
  reached = 0
  /** Most requests that were open at once, since it was last set to 0. */
  mostBusy = 0
  /** Of the request that came last. */
  line: Line | undefined
  readonly #server: Server
  readonly #secure: SecureServer | undefined
  readonly #sockets = new Set<Socket>()
  #port = 0
  #plays: (nth: number) => Play | undefined = () => undefined
  #accept: AcceptPlay | undefined
  #nth = 0

  private constructor(secure: boolean) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accepted(socket))
    if (!secure) return
    this.#secure = createSecureServer(CERTIFICATES.good, (socket) => {
      socket.once('close', () => carrierOf(socket).destroy())
      this.#listen(socket)
    })
    this.#secure.on('tlsClientError', (_error, socket) => carrierOf(socket).destroy())
  }

  static async start({ secure = false }: { secure?: boolean } = {}): Promise<FaultUpstream> {
    const upstream = new FaultUpstream(secure)
    await upstream.up()
    return upstream
  }

  get url(): string {
    return `${this.#secure ? 'https' : 'http'}://127.0.0.1:${this.#port}`
  }

  /** Connections open now. */
  get open(): number {
    return this.#sockets.size
  }

  /** Requests that are neither answered nor gone. */
  get busy(): number {
    return this.requests.filter(({ state }) => state === 'open').length
  }

  /** From now on plays these, one for each request and the last for ever, or just one for all. */
  fault({
    play,
    accept,
  }: {
    play?: Play | readonly Play[] | undefined
    accept?: AcceptPlay | undefined
  }): void {
    this.#nth = 0
    this.#accept = accept
    if (play === undefined) this.#plays = () => undefined
    else if (typeof play === 'function') this.#plays = () => play
    else this.#plays = (nth) => play[nth]
  }

  /** From now on all is well. */
  heal(): void {
    this.fault({})
    this.certificate('good')
  }

  /** The certificate that connections to come are shown. */
  certificate(name: CertificateName): void {
    this.#secure?.setSecureContext(CERTIFICATES[name])
  }

  /** Cuts every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Stops listening, and cuts every connection. */
  async down(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.cut()
    await closed
  }

  /** Listens again, at the same port. */
  async up(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down()
  }

  #accepted(socket: Socket): void {
    const connection: Connection = { openedAt: performance.now(), closedAt: undefined }
    this.connections.push(connection)
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.once('close', () => {
      connection.closedAt = performance.now()
      this.#sockets.delete(socket)
    })
    if (this.#accept) {
      this.#accept(socket)
      this.reached++
      socket.on('end', () => socket.destroy())
      socket.resume()
    } else if (this.#secure) {
      // A client who refuses the certificate just leaves.
      socket.allowHalfOpen = false
      this.#secure.emit('connection', socket)
    } else this.#listen(socket)
  }

  #listen(socket: Socket): void {
    let text = ''
    // Each request listens for the end of its connection.
    socket.setMaxListeners(0)
    socket.on('error', () => {})
    // Whoever half-closes wants nothing more.
    socket.on('end', () => socket.destroy())
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      for (;;) {
        const [seen, rest] = takeRequest(text)
        if (seen === undefined) return
        text = rest
        this.#received(seen, socket)
      }
    })
  }

  async #received(seen: Seen, socket: Socket): Promise<void> {
    const request: Received = {
      ...seen,
      token: tokenOf(seen),
      at: performance.now(),
      state: 'open',
    }
    this.requests.push(request)
    this.mostBusy = Math.max(this.mostBusy, this.busy)
    socket.once('close', () => {
      if (request.state === 'open') request.state = 'gone'
    })
    const play = this.#plays(this.#nth++) ?? goodAnswer
    this.line = this.#line(request, socket)
    await play(this.line)
    this.reached++
  }

  #line(request: Received, socket: Socket): Line {
    const count = (bytes: string | Uint8Array) => {
      this.sent += Buffer.byteLength(bytes)
    }
    return {
      request,
      socket,
      get gone() {
        return socket.destroyed
      },
      send: (bytes) => {
        if (socket.destroyed) return Promise.resolve()
        count(bytes)
        if (socket.write(bytes)) return Promise.resolve()
        return new Promise((resolve) => {
          const go = () => {
            socket.off('drain', go).off('close', go)
            resolve()
          }
          socket.on('drain', go).on('close', go)
        })
      },
      answered: () => {
        if (request.state === 'open') request.state = 'answered'
      },
      end: (bytes = '') => {
        count(bytes)
        socket.end(bytes)
      },
      reset: () => carrierOf(socket).resetAndDestroy(),
      every: (ms, tick) => {
        const timer = setInterval(tick, ms)
        socket.once('close', () => clearInterval(timer))
      },
    }
  }
}

/** The connection itself, under TLS too. */
const carrierOf = (socket: Socket): Socket =>
  ('_parent' in socket && socket._parent ? socket._parent : socket) as Socket
