import type { Agent, Dispatcher } from 'undici'
import {
  type BlossomCallOptions,
  breaker,
  cache,
  createBlossom,
  dedupe,
  defineLayer,
  onEnd,
  pool,
  queue,
  retry,
  timeout,
} from '../../src/index.js'
import { FaultUpstream } from '../support/fault-upstream.js'
import { promptOf, tokenOf } from '../support/good-answers.js'
import { KEY } from '../support/secrets.js'
import type { Method, Row } from './row.js'
import { became, tally } from './tally.js'

/** What came of a call, as its caller saw it. */
export interface Outcome {
  readonly ok: boolean
  readonly text: string
  readonly error: unknown
  /** On the `performance.now()` clock. */
  readonly began: number
  readonly settled: number
}

/** One attempt, as the innermost layer saw it. */
export interface Attempt {
  readonly token: string
  readonly at: number
  ends: number
}

const MINUTE = 60_000
/** Limits of the call and of an attempt. With a real clock none is ever reached. */
const REAL = { call: { ms: 2 * MINUTE }, attempt: { ms: MINUTE } }
const FAKE = {
  call: { ms: 100_000, streamMs: 400_000 },
  attempt: { ms: 10_000, streamMs: MINUTE, firstTokenMs: 10_000, idleMs: 5_000 },
}

/**
 * The recommended layers with one slot and quick retries, and a last one that writes down every
 * attempt.
 */
function layersOf({ clock, attempts }: { clock?: boolean; attempts: Attempt[] }) {
  const limits = clock ? FAKE : REAL
  const watch = defineLayer({
    name: 'watch',
    wrap: (next) => async (request, context) => {
      const { path, payload = '' } = request as { path: string; payload?: string }
      const attempt: Attempt = {
        token: tokenOf({ path, body: payload }),
        at: performance.now(),
        ends: 0,
      }
      attempts.push(attempt)
      try {
        return onEnd(await next(request, context), () => attempt.ends++)
      } catch (error) {
        attempt.ends++
        throw error
      }
    },
  })
  return [
    cache(),
    dedupe(),
    timeout(limits.call),
    retry({ minDelayMs: 1, maxDelayMs: 2 }),
    breaker(),
    queue({ concurrency: 1 }),
    timeout({ name: 'attempt', ...limits.attempt }),
    pool({ connections: 1 }),
    watch,
  ] as const
}

type Client = ReturnType<typeof clientOf>
const clientOf = (
  baseURL: string,
  dispatcher: Dispatcher | undefined,
  layers: ReturnType<typeof layersOf>,
) => createBlossom({ baseURL, apiKey: KEY, dispatcher }).use(...layers)

/** An upstream, a client with the whole stack in front of it, and what both have seen. */
export class Scene {
  readonly attempts: Attempt[] = []
  readonly blossom: Client
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
  ) {
    this.#dispatcher = row.dispatcher?.(upstream)
    const { clock = false } = row
    this.blossom = clientOf(
      row.baseURL?.(upstream) ?? upstream.url,
      this.#dispatcher,
      layersOf({ clock, attempts: this.attempts }),
    )
  }

  static async open(row: Row, token: string): Promise<Scene> {
    return new Scene(row, token, await FaultUpstream.start({ secure: row.secure ?? false }))
  }

  /** Makes a call and reads its answer to the end; a failure is an outcome, too. */
  ask(method: Method, token: string, options: BlossomCallOptions = {}): Promise<Outcome> {
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
    options: BlossomCallOptions,
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
    const { queue, pool, dedupe } = this.blossom.stats()
    return queue.running + queue.waiting + pool.active + pool.waiting + dedupe.inFlight
  }

  requestsOf(token: string): number {
    return this.upstream.requests.filter((request) => request.token === token).length
  }

  /** Closes all, and adds up what was lost, doubled or left behind. */
  async close(): Promise<void> {
    const { upstream, attempts } = this
    await became(() => this.held === 0 && upstream.busy === 0)
    tally.leaked += this.held + upstream.busy
    await this.blossom.close({ timeoutMs: 0 })
    await (this.#dispatcher as Agent | undefined)?.destroy()
    await became(() => upstream.open === 0)
    tally.leaked += upstream.open
    tally.requests += upstream.requests.length
    for (const { ends } of attempts) {
      if (ends === 0) tally.endless++
      if (ends > 1) tally.doubled++
    }
    for (const token of new Set(upstream.requests.map((request) => request.token))) {
      tally.doubled += Math.max(
        0,
        this.requestsOf(token) - attempts.filter((attempt) => attempt.token === token).length,
      )
    }
    await upstream[Symbol.asyncDispose]()
  }
}
