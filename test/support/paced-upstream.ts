import { EventEmitter, once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A request for a stream, which the test answers piece by piece. */
export class PacedStream {
  readonly #response: ServerResponse
  /** Whether the client has gone before the end. */
  wasLeft = false
  /** Whether nothing can be sent any more. */
  hasEnded = false

  constructor(response: ServerResponse) {
    this.#response = response
    response.once('close', () => {
      this.wasLeft = !response.writableFinished
      this.hasEnded = true
    })
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
  }

  /** Sends text or bytes as one packet, and resolves when it has left. */
  send(packet: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (packet.length === 0) resolve()
      else this.#response.write(packet, () => resolve())
    })
  }

  /** Sends the chunks of an answer, each in an event. */
  async say(...words: readonly string[]): Promise<void> {
    await this.send(words.map(chunkOf).join(''))
  }

  /** Ends the answer as it should. */
  finish(): void {
    this.#response.end(LAST)
  }

  /** Ends the answer with what was sent. */
  end(): void {
    this.#response.end()
  }

  /** Breaks the connection. */
  break(): void {
    this.#response.destroy()
  }
}

/** An event of a chat's answer. */
export const chunkOf = (content: string): string =>
  `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":${JSON.stringify(content)}},"finish_reason":null}]}\n\n`

/** How a chat's answer ends. */
export const LAST =
  'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

/** An upstream whose streams go as the test says. */
export class PacedUpstream implements AsyncDisposable {
  readonly #server: Server
  readonly #came = new EventEmitter()
  readonly streams: PacedStream[] = []

  private constructor() {
    this.#server = createServer((request, response) => {
      request.resume()
      request.on('end', () => {
        this.streams.push(new PacedStream(response))
        this.#came.emit('stream')
      })
    })
  }

  static async start(): Promise<PacedUpstream> {
    const upstream = new PacedUpstream()
    await once(upstream.#server.listen(0, '127.0.0.1'), 'listening')
    return upstream
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The stream with this number, as soon as it has been asked for. */
  async stream(index = 0): Promise<PacedStream> {
    while (this.streams.length <= index) await once(this.#came, 'stream')
    return this.streams[index] as PacedStream
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
