import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { isError } from '../../core/index.js'
import type { Draft, WholeAnswer } from './drafts.js'
import { errorBody, Refusal } from './errors.js'
import { Exchange, Gone } from './exchange.js'
import { checkFault, type Fault, faultQueue, takeFault } from './faults.js'
import { Gates } from './gates.js'
import type { LocalBlossom } from './interface.js'
import { Models } from './models.js'
import { oddBody, oddFrames, oddHead } from './odd-shapes.js'
import type { Settings } from './options.js'
import { beginRecord, type OpenRecord, REMEMBERED } from './record.js'
import { findRoute } from './routes.js'
import { sendStandIn, sendStream, sendWhole, standsIn } from './send.js'
import { SharedGenerations } from './shared.js'
import { Waiters } from './waiters.js'

/** The HTTP server behind `startLocalBlossom()`. @internal */
export class Server implements LocalBlossom {
  url = ''
  port = 0
  active = 0
  maxActive = 0
  generations = 0
  readonly requests: OpenRecord[] = []
  readonly faults = faultQueue()
  readonly #settings: Settings
  readonly #sockets = new Set<Socket>()
  readonly #shared = new SharedGenerations<WholeAnswer>()
  readonly #waiters: Waiters<LocalBlossom>
  readonly #gates: Gates
  readonly #models: Models
  readonly #http = createServer(
    { maxHeaderSize: 256 * 1024, requestTimeout: 0 },
    (request, response) => void this.#serve(request, response),
  )
  #seen = 0
  #closing: Promise<void> | undefined

  private constructor(settings: Settings) {
    this.#settings = settings
    this.#gates = new Gates(settings)
    this.#models = new Models(settings.models, settings.responses)
    this.#waiters = new Waiters<LocalBlossom>(
      this,
      () => `${this.requests.length} requests, ${this.active} active`,
    )
    // Never closes idle connections, because that makes tests fail now and then. The client closes
    // them.
    this.#http.keepAliveTimeout = 0
    this.#http.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  static async start(settings: Settings): Promise<Server> {
    const server = new Server(settings)
    await server.#listen()
    return server
  }

  readonly fault = (fault: Fault): void => void this.faults.push(fault)

  readonly fail = (status: number, times = 1): void => void this.faults.push({ status, times })

  readonly waitFor: LocalBlossom['waitFor'] = (predicate, timeoutMs = 2000) =>
    this.#waiters.wait(predicate, timeoutMs)

  readonly reset = (): void => {
    this.requests.length = 0
    this.faults.length = 0
    this.#shared.clear()
    this.#gates.reset()
    this.generations = 0
    this.maxActive = this.active
    this.#waiters.look()
  }

  readonly close = (): Promise<void> => (this.#closing ??= this.#close())

  readonly [Symbol.asyncDispose] = this.close

  async #listen(): Promise<void> {
    const { host, port } = this.#settings
    await new Promise<void>((resolve, reject) => {
      this.#http.once('error', (cause: NodeJS.ErrnoException) => {
        const { code } = cause
        const problem = code === 'EADDRINUSE' ? 'the port is already in use' : cause.message
        const sentence = `The local Blossom cannot listen on port ${port} of ${host}: ${problem}.`
        reject(Object.assign(new Error(sentence, { cause }), { code }))
      })
      this.#http.listen(port, host, resolve)
    })
    this.port = (this.#http.address() as AddressInfo).port
    this.url = `http://${host.includes(':') ? `[${host}]` : host}:${this.port}`
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { record, secret } = beginRecord(++this.#seen, request)
    this.requests.push(record)
    if (this.requests.length > REMEMBERED) this.requests.shift()
    this.maxActive = Math.max(this.maxActive, ++this.active)
    const exchange = new Exchange(record, secret, request, response, () => this.#waiters.look())
    exchange.atEnd(() => this.active--)
    this.#waiters.look()
    try {
      await exchange.read()
      await this.#answer(exchange)
    } catch (error) {
      await refuse(exchange, error).catch(() => undefined)
    }
  }

  async #answer(exchange: Exchange): Promise<void> {
    const { record } = exchange
    let fault = takeFault(this.faults, record) ?? this.#faultOfHeader(record)
    record.fault = fault
    if (fault !== undefined && standsIn(fault)) return sendStandIn(exchange, fault)

    if (record.path === '/v1/responses' && !this.#settings.responses)
      throw new Refusal(404, 'No such route.')
    const route = findRoute(record.method, record.path)
    if (!route.open) this.#gates.checkKey(exchange.secret.key)
    if (route.generation) this.#gates.checkRate()
    const draft = route.draft({
      record,
      query: new URLSearchParams(exchange.secret.search),
      models: this.#models,
      url: this.url,
      reply: this.#settings.reply(record),
      words: this.#settings.words(record),
      wordsPerChunk: fault?.oneChunk === true ? Infinity : this.#settings.wordsPerChunk(record),
    })
    const answer = route.generation ? await this.#generate(exchange, draft, fault) : draft.make(0)
    if (fault?.delayMs !== undefined) await exchange.sleep(fault.delayMs)
    const cached = record.cache === undefined ? undefined : { 'x-cache': record.cache }
    const { odd } = fault ?? {}
    if (odd !== undefined) fault = { ...oddHead(odd, 'frames' in answer), ...fault }
    if ('frames' in answer) {
      const headers = { ...cached, 'x-model-used': answer.model }
      return sendStream(
        exchange,
        odd ? oddFrames(answer.frames, odd) : answer.frames,
        headers,
        this.#settings.chunkDelayMs(record),
        fault,
      )
    }
    return sendWhole(
      exchange,
      {
        status: 200,
        headers: { ...cached, ...headersOf(answer) },
        body: odd ? oddBody(answer.body, odd) : answer.body,
      },
      fault,
    )
  }

  /**
   * Generates an answer, using a place and the latency, or shares the answer of an identical
   * request.
   */
  async #generate(
    exchange: Exchange,
    draft: Draft,
    fault: Fault | undefined,
  ): Promise<ReturnType<Draft['make']>> {
    const { record } = exchange
    record.cache = 'MISS'
    const latencyMs = this.#settings.latencyMs(record)
    if (draft.stream || fault !== undefined || !this.#settings.coalesce) {
      this.#gates.takePlace(exchange)
      const number = ++this.generations
      await exchange.sleep(latencyMs)
      return draft.make(number)
    }
    const identity = SharedGenerations.identity(
      record.method,
      record.path,
      exchange.secret.search,
      record.rawBody,
    )
    const known = this.#shared.find(identity)
    if (known !== undefined) {
      record.cache = 'HIT'
      return exchange.waitFor(known)
    }
    this.#gates.takePlace(exchange)
    const number = ++this.generations
    return exchange.waitFor(this.#shared.begin(identity, latencyMs, () => draft.make(number)))
  }

  #faultOfHeader({ headers }: OpenRecord): Fault | undefined {
    const text = headers['x-fault']
    if (!this.#settings.faultHeader || typeof text !== 'string') return undefined
    try {
      const fault: unknown = JSON.parse(text)
      checkFault(fault)
      return fault
    } catch (error) {
      throw new Refusal(
        400,
        `The header x-fault does not contain a valid fault: ${messageOf(error)}`,
      )
    }
  }

  async #close(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.#http.close(() => resolve()))
    this.#shared.close()
    // The server emits `close` before its last socket does, and answers end with their sockets.
    const ended = [...this.#sockets].map((socket) => once(socket, 'close'))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all([stopped, ...ended])
    this.#waiters.close()
  }
}

/**
 * Answers with what was thrown: with a `Refusal` as it is, not at all if the client has
 * disconnected, and with a 500 for anything else.
 */
async function refuse(exchange: Exchange, error: unknown): Promise<void> {
  if (error instanceof Gone || exchange.hasHead) return
  const refusal = error instanceof Refusal ? error : new Refusal(500, messageOf(error))
  const { status, message, extra } = refusal
  const usual = errorBody('blossom', {
    status,
    message,
    details: extra.details,
    requestId: exchange.requestId,
  })
  const body = Buffer.from(extra.body === undefined ? usual.body : JSON.stringify(extra.body))
  await sendWhole(exchange, {
    status,
    headers: { 'content-type': usual.contentType, ...extra.headers },
    body,
  })
}

const messageOf = (error: unknown): string => (isError(error) ? error.message : String(error))

function headersOf({ contentType, model, usage }: WholeAnswer): Record<string, string> {
  return {
    'content-type': contentType,
    ...(model === undefined ? {} : { 'x-model-used': model }),
    ...(usage === undefined
      ? {}
      : {
          'x-usage-prompt-text-tokens': String(usage.prompt_tokens),
          'x-usage-completion-text-tokens': String(usage.completion_tokens ?? 0),
          'x-usage-total-tokens': String(usage.total_tokens),
        }),
  }
}
