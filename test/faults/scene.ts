import type { Agent, Dispatcher } from 'undici'
import { type BlossomCallOptions, createBlossom, retry } from '../../src/index.js'
import { FaultUpstream } from '../support/fault-upstream.js'
import { promptOf } from '../support/good-answers.js'
import { KEY } from '../support/secrets.js'
import { type Attempt, layersOf, watch } from './layers.js'
import type { Method, Row } from './row.js'
import { became, tally } from './tally.js'

/** Options of a call; the model is for texts alone. */
export type AskOptions = BlossomCallOptions & { readonly model?: string }

/** What came of a call, as its caller saw it. */
export interface Outcome {
  readonly ok: boolean
  readonly text: string
  readonly error: unknown
  /** On the `performance.now()` clock. */
  readonly began: number
  readonly settled: number
}

type Client = ReturnType<typeof clientOf>
const clientOf = (
  baseURL: string,
  dispatcher: Dispatcher | undefined,
  layers: ReturnType<typeof layersOf>,
) => createBlossom({ baseURL, apiKey: KEY, dispatcher }).use(...layers)

/** Another client, with an upstream and a key of its own. */
const otherOf = (baseURL: string, attempts: Attempt[]) =>
  createBlossom({ baseURL, apiKey: 'sk_Of_the_other_client' }).use(
    retry({ retries: 0 }),
    watch(attempts),
  )

/** An upstream, a client with the whole stack in front of it, and what both have seen. */
export class Scene {
  readonly attempts: Attempt[] = []
  readonly blossom: Client
  /** Of the other client. */
  readonly otherAttempts: Attempt[] = []
  readonly #otherClient: ReturnType<typeof otherOf>
  #reading = { text: '' }
  /** Whether the test's clock stands still. */
  still = false
  /** Why this row's caller aborts. */
  readonly reason = new Error('The caller has had enough.')
  readonly #dispatcher: Dispatcher | undefined

  private constructor(
    readonly row: Row,
    readonly token: string,
    readonly upstream: FaultUpstream,
    /** That of the other client. */
    readonly other: FaultUpstream,
  ) {
    this.#dispatcher = row.dispatcher?.(upstream)
    this.#otherClient = otherOf(other.url, this.otherAttempts)
    const { clock = false, layers = {} } = row
    this.blossom = clientOf(
      row.baseURL?.(upstream) ?? upstream.url,
      this.#dispatcher,
      layersOf(
        { clock, attempts: this.attempts },
        typeof layers === 'function' ? layers(this.#otherClient) : layers,
      ),
    )
  }

  static async open(row: Row, token: string): Promise<Scene> {
    const [upstream, other] = await Promise.all([
      FaultUpstream.start({ secure: row.secure ?? false }),
      FaultUpstream.start(),
    ])
    return new Scene(row, token, upstream, other)
  }

  /** Makes a call and reads its answer to the end; a failure is an outcome, too. */
  ask(method: Method, token: string, options: AskOptions = {}): Promise<Outcome> {
    return this.call((read) => this.#read(method, promptOf(token), options, read))
  }

  /** Makes a call in a way of its own, and counts it. */
  async call(work: (read: { text: string }) => Promise<unknown>): Promise<Outcome> {
    const began = performance.now()
    tally.calls++
    const read = { text: '' }
    this.#reading = read
    const outcome = (ok: boolean, error?: unknown): Outcome => ({
      ok,
      text: read.text,
      error,
      began,
      settled: performance.now(),
    })
    try {
      await work(read)
      return outcome(true)
    } catch (error) {
      return outcome(false, error)
    } finally {
      tally.settled++
    }
  }

  async #read(
    method: Method,
    prompt: string,
    options: AskOptions,
    read: { text: string },
  ): Promise<void> {
    const { text, chat, image, embeddings } = this.blossom
    const messages = [{ role: 'user', content: prompt }]
    switch (method) {
      case 'text.generate':
        read.text = (await text.generate(prompt, options)).text
        break
      case 'chat.create':
        read.text = String((await chat.create({ messages }, options)).choices[0]?.message.content)
        break
      case 'image.generate':
        read.text = Buffer.from((await image.generate(prompt, options)).bytes).toString()
        break
      case 'embeddings.create':
        read.text = String.fromCharCode(
          ...((await embeddings.create(prompt, options)).embeddings[0] ?? []),
        )
        break
      case 'text.stream':
        for await (const piece of await text.stream(prompt, options)) read.text += piece.text
        break
      case 'chat.stream':
        for await (const { choices } of await chat.stream({ messages }, options))
          read.text += choices?.[0]?.delta.content ?? ''
    }
  }

  /** What the reader of the latest call has got so far. */
  get delivered(): string {
    return this.#reading.text
  }

  /** What the stack holds at this moment. */
  get held(): number {
    const { queue, pool, dedupe, rateLimit, providerLimit } = this.blossom.stats()
    const slots = queue.running + queue.waiting + pool.active + pool.waiting + dedupe.inFlight
    const reserved = [rateLimit, providerLimit].map(
      ({ waiting, admitted, settled }) => waiting + admitted - settled,
    )
    return reserved.reduce((sum, one) => sum + one, slots)
  }

  /** Requests that an upstream has not done with. */
  get busy(): number {
    return this.upstream.busy + this.other.busy
  }

  /** Whether upstream has done to every attempt all it will do. */
  get isIdle(): boolean {
    const { upstream, other, attempts, otherAttempts } = this
    return upstream.reached + other.reached >= attempts.length + otherAttempts.length
  }

  requestsOf(token: string): number {
    return this.upstream.requests.filter((request) => request.token === token).length
  }

  /** Closes all, and adds up what was lost, doubled or left behind. */
  async close(): Promise<void> {
    const { upstream, other } = this
    await became(() => this.held === 0 && this.busy === 0)
    tally.leaked += this.held + this.busy
    await this.blossom.close({ timeoutMs: 0 })
    await this.#otherClient.close({ timeoutMs: 0 })
    await (this.#dispatcher as Agent | undefined)?.destroy()
    await became(() => upstream.open + other.open === 0)
    tally.leaked += upstream.open + other.open
    this.#count(upstream, this.attempts)
    this.#count(other, this.otherAttempts)
    await Promise.all([upstream[Symbol.asyncDispose](), other[Symbol.asyncDispose]()])
  }

  #count({ requests }: FaultUpstream, attempts: readonly Attempt[]): void {
    tally.requests += requests.length
    for (const { ends } of attempts) {
      if (ends === 0) tally.endless++
      if (ends > 1) tally.doubled++
    }
    for (const token of new Set(requests.map((request) => request.token))) {
      const made = requests.filter((request) => request.token === token).length
      const tried = attempts.filter((attempt) => attempt.token === token).length
      tally.doubled += Math.max(0, made - tried)
    }
  }
}
