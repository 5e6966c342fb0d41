import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { errorBody, Refusal } from './errors.js'
import { Exchange, Gone } from './exchange.js'
import { checkFault, type Fault, faultQueue, takeFault } from './faults.js'
import { Gates } from './gates.js'
import { Models } from './models.js'
import { oddBody, oddFrames, oddHead } from './odd-shapes.js'
import { type LocalBlossomOptions, readOptions, type Settings } from './options.js'
import { beginRecord, type LocalBlossomRequest, type OpenRecord, REMEMBERED } from './record.js'
import { type Draft, findRoute, type WholeAnswer } from './routes.js'
import { sendStandIn, sendStream, sendWhole, standsIn } from './send.js'
import { SharedGenerations } from './shared.js'
import { Waiters } from './waiters.js'

export type { ErrorShape } from './errors.js'
export type { Fault } from './faults.js'
export type { LocalBlossomOptions, PerRequest } from './options.js'
export type { LocalBlossomRequest } from './record.js'

/** A running local Blossom. Its functions need no `this`. */
export interface LocalBlossom extends AsyncDisposable {
  /**
   * Where it listens, such as `http://127.0.0.1:49152`, without a slash at the end; OpenAI clients
   * take `${url}/v1`.
   */
  readonly url: string
  readonly port: number
  /**
   * The requests so far, in the order their heads arrived: the last 10,000, and the same array for
   * ever.
   */
  readonly requests: readonly LocalBlossomRequest[]
  /**
   * Faults for the requests to come, first in first out: `blossom.faults.push({ status: 503 }, {
   * status: 503 })`.
   */
  readonly faults: Fault[]
  /** Requests being answered now. */
  readonly active: number
  /** Most requests that were being answered at the same time, since the start or `reset()`. */
  readonly maxActive: number
  /**
   * Generations begun, since the start or `reset()`: answers from the cache and joined requests
   * begin none, nor do stand-in faults.
   */
  readonly generations: number
  /** Queues one fault. @throws {ConfigError} when the fault has an unknown field or a wrong value. */
  fault(fault: Fault): void
  /**
   * Queues an error answer for the next request, or the next `times`: `blossom.fail(503, 2)`.
   * @default times 1
   */
  fail(status: number, times?: number): void
  /**
   * Resolves as soon as the predicate is true; it is asked now and at every change, without
   * polling. Rejects with an Error after `timeoutMs` (real milliseconds, also under fake timers),
   * when the predicate throws, and at `close()`.
   * @default timeoutMs 2000
   */
  waitFor(predicate: (blossom: LocalBlossom) => boolean, timeoutMs?: number): Promise<void>
  /**
   * Forgets requests, faults, cached answers, counts and the rate; requests being answered go on,
   * unlisted.
   */
  reset(): void
  /**
   * Stops listening, ends every connection and timer, and resolves when all is done. Harmless
   * twice: the same promise.
   */
  close(): Promise<void>
}

/**
 * Starts a real HTTP server on this machine that speaks the wire of the Pollinations gateway
 * (documentation of 2026-11): chat (streamed or not), text, images, speech, embeddings, models and
 * balance, with its rules for keys, limits and repeated requests, and faults on demand.
 *
 * Equal questions get equal answers: text depends on model, messages and seed only. Tokens are
 * words: a run of characters that are not white space is one, and each part of a message that is
 * not text another. Pictures are PNGs of at most 128 pixels a side, sound is a WAV tone.
 *
 * @throws {ConfigError} naming the option, when one is wrong.
 * @throws {Error} with the system's `code`, such as `EADDRINUSE`, when the port cannot be had.
 * @example
 * await using upstream = await startLocalBlossom({ latencyMs: 20 })
 * upstream.faults.push({ status: 503 }, { status: 503 })
 * const answer = await fetch(`${upstream.url}/text/hello`) // 503, 503, then an answer
 */
export async function startLocalBlossom(options: LocalBlossomOptions = {}): Promise<LocalBlossom> {
  const running = new Server(readOptions(options))
  await running.listen()
  return running.face
}

class Server {
  readonly face: LocalBlossom
  readonly #requests: OpenRecord[] = []
  readonly #faults = faultQueue()
  readonly #sockets = new Set<Socket>()
  readonly #shared = new SharedGenerations<WholeAnswer>()
  readonly #waiters: Waiters<LocalBlossom>
  readonly #gates: Gates
  readonly #models: Models
  readonly #http = createServer(
    { maxHeaderSize: 256 * 1024, requestTimeout: 0 },
    (request, response) => void this.#serve(request, response),
  )
  #url = ''
  #port = 0
  #seen = 0
  #active = 0
  #maxActive = 0
  #generations = 0
  #closing: Promise<void> | undefined

  constructor(readonly settings: Settings) {
    this.#gates = new Gates(settings)
    this.#models = new Models(settings.models)
    // Idle connections are the client's to end: a server that ends them now and then makes tests
    // fail now and then.
    this.#http.keepAliveTimeout = 0
    this.#http.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    this.face = this.#makeFace()
    this.#waiters = new Waiters(
      this.face,
      () => `${this.#requests.length} requests, ${this.#active} active`,
    )
  }

  async listen(): Promise<void> {
    const { host, port } = this.settings
    await new Promise<void>((resolve, reject) => {
      this.#http.once('error', (cause: NodeJS.ErrnoException) => {
        const problem = cause.code === 'EADDRINUSE' ? 'the port is taken' : cause.message
        reject(
          Object.assign(
            new Error(`The local Blossom cannot listen on port ${port} of ${host}: ${problem}.`, {
              cause,
            }),
            {
              code: cause.code,
            },
          ),
        )
      })
      this.#http.listen(port, host, resolve)
    })
    this.#port = (this.#http.address() as AddressInfo).port
    this.#url = `http://${host.includes(':') ? `[${host}]` : host}:${this.#port}`
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { record, secret } = beginRecord(++this.#seen, request)
    this.#requests.push(record)
    if (this.#requests.length > REMEMBERED) this.#requests.shift()
    this.#maxActive = Math.max(this.#maxActive, ++this.#active)
    const exchange = new Exchange(record, secret, request, response, () => this.#waiters.look())
    exchange.atEnd(() => this.#active--)
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
    let fault = takeFault(this.#faults, record) ?? this.#faultOfHeader(record)
    record.fault = fault
    if (fault !== undefined && standsIn(fault)) return sendStandIn(exchange, fault)

    const route = findRoute(record.method, record.path)
    if (!route.open) this.#gates.checkKey(exchange.secret.key)
    if (route.generation) this.#gates.checkRate()
    const draft = route.draft({
      record,
      query: new URLSearchParams(exchange.secret.search),
      models: this.#models,
      url: this.#url,
      reply: this.settings.reply(record),
      words: this.settings.words(record),
      wordsPerChunk: fault?.oneChunk === true ? Infinity : this.settings.wordsPerChunk(record),
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
        this.settings.chunkDelayMs(record),
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

  /** Takes a place and the time it takes; or shares what an identical request has begun. */
  async #generate(
    exchange: Exchange,
    draft: Draft,
    fault: Fault | undefined,
  ): Promise<ReturnType<Draft['make']>> {
    const { record } = exchange
    record.cache = 'MISS'
    const latencyMs = this.settings.latencyMs(record)
    if (draft.stream || fault !== undefined || !this.settings.coalesce) {
      this.#gates.takePlace(exchange)
      const number = ++this.#generations
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
    const number = ++this.#generations
    return exchange.waitFor(this.#shared.begin(identity, latencyMs, () => draft.make(number)))
  }

  #faultOfHeader({ headers }: OpenRecord): Fault | undefined {
    const text = headers['x-fault']
    if (!this.settings.faultHeader || typeof text !== 'string') return undefined
    try {
      const fault: unknown = JSON.parse(text)
      checkFault(fault)
      return fault
    } catch (error) {
      throw new Refusal(
        400,
        `The header x-fault is no fault: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
  }

  #makeFace(): LocalBlossom {
    const server = this
    return {
      get url() {
        return server.#url
      },
      get port() {
        return server.#port
      },
      requests: this.#requests,
      faults: this.#faults,
      get active() {
        return server.#active
      },
      get maxActive() {
        return server.#maxActive
      },
      get generations() {
        return server.#generations
      },
      fault: (fault) => void this.#faults.push(fault),
      fail: (status, times = 1) => void this.#faults.push({ status, times }),
      waitFor: (predicate, timeoutMs = 2000) => this.#waiters.wait(predicate, timeoutMs),
      reset: () => this.#reset(),
      close: () => (this.#closing ??= this.#close()),
      [Symbol.asyncDispose]: () => (this.#closing ??= this.#close()),
    }
  }

  #reset(): void {
    this.#requests.length = 0
    this.#faults.length = 0
    this.#shared.clear()
    this.#gates.reset()
    this.#generations = 0
    this.#maxActive = this.#active
    this.#waiters.look()
  }

  async #close(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.#http.close(() => resolve()))
    this.#shared.close()
    // The server says closed before its last socket does, and answers end with their sockets.
    const ended = [...this.#sockets].map((socket) => once(socket, 'close'))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all([stopped, ...ended])
    this.#waiters.close()
  }
}

/**
 * Answers with what was thrown: a refusal as such, the client's leaving not at all, anything else
 * as a failure of this server.
 */
async function refuse(exchange: Exchange, error: unknown): Promise<void> {
  if (error instanceof Gone || exchange.hasHead) return
  const refusal =
    error instanceof Refusal
      ? error
      : new Refusal(500, error instanceof Error ? error.message : String(error))
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
