import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** What the way to an upstream does to a connection. */
export interface WayFault {
  /** Cuts the connection when so many bytes of answers have passed. */
  readonly cutAfter?: number
  /** Resets it instead of ending it. */
  readonly reset?: boolean
  /** Takes connections and bytes, and gives nothing back. */
  readonly blackHole?: boolean
  /** Holds each piece of an answer back for so long. Milliseconds. */
  readonly delayMs?: number
  /** Passes answers on in pieces of so many bytes. */
  readonly splitBytes?: number
}

/** A way to an upstream that fails when a test says so: bytes pass through it unread. */
export class FaultProxy implements AsyncDisposable {
  /** Connections so far. */
  connections = 0
  /** Bytes of answers that have passed. */
  passed = 0
  readonly #target: number
  readonly #sockets = new Set<Socket>()
  readonly #server: Server = createServer({ allowHalfOpen: true }, (socket) =>
    this.#accepted(socket),
  )
  #port = 0
  #faults: WayFault[] = []
  #always: WayFault = {}

  private constructor(target: number) {
    this.#target = target
  }

  /** A proxy to a port of this machine. */
  static async to(port: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(port)
    await proxy.restore()
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Connections open now, of both sides. */
  get open(): number {
    return this.#sockets.size
  }

  /** The next connections meet these faults, one each. */
  next(...faults: readonly WayFault[]): void {
    this.#faults.push(...faults)
  }

  /** Every connection to come meets this fault, after those said by `next`. */
  always(fault: WayFault): void {
    this.#always = fault
  }

  /** Cuts every connection, as if a cable had been pulled and put back. */
  cut(reset = false): void {
    for (const socket of this.#sockets) reset ? socket.resetAndDestroy() : socket.destroy()
  }

  /** Refuses connections, and cuts those there are. */
  async refuse(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.cut()
    await closed
  }

  /** Takes connections again, at the same port. */
  async restore(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse()
  }

  #accepted(near: Socket): void {
    this.connections++
    const fault = this.#faults.shift() ?? this.#always
    this.#keep(near)
    if (fault.blackHole) return void near.resume().once('end', () => near.destroy())
    const far = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true })
    this.#keep(far)
    near.pipe(far)
    near.once('close', () => far.destroy())
    const hangUp = () =>
      fault.delayMs === undefined ? near.end() : setTimeout(() => near.end(), fault.delayMs)
    far.once('close', hangUp)
    far.once('end', hangUp)
    let left = fault.cutAfter ?? Number.POSITIVE_INFINITY
    const pass = (bytes: Buffer) => {
      const part = bytes.subarray(0, Math.min(left, bytes.length))
      left -= part.length
      this.passed += part.length
      const size = fault.splitBytes ?? (part.length || 1)
      for (let at = 0; at < part.length; at += size) near.write(part.subarray(at, at + size))
      if (left > 0) return
      // What was cut off must not come later.
      far.off('close', hangUp).removeAllListeners('data').destroy()
      near.unpipe(far).resume()
      // A reset throws away what has not been read yet, and Node knows none behind an end.
      if (fault.reset) setTimeout(() => near.resetAndDestroy(), 10)
      else near.end()
    }
    far.on('data', (bytes) => {
      if (left <= 0) return
      if (fault.delayMs === undefined) pass(bytes)
      else setTimeout(pass, fault.delayMs, bytes)
    })
    if (left === 0) pass(Buffer.alloc(0))
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
  }
}
