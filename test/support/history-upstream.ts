import { base, type CacheMode, type Context } from '../../src/core/index.js'
import { type Moment, now } from './history-clock.js'
import { chunksOf, partsOf, TRAITS } from './history-traits.js'
import { type UpstreamCode, upstreamError } from './upstream.js'

/** A request: several prompts when a batcher has merged calls. */
export interface Ask {
  readonly prompts: readonly string[]
  readonly stream: boolean
  readonly model: string
}

/** An answer to one prompt. It says itself whose it is. */
export interface Part {
  readonly prompt: string
  readonly tenant: string | undefined
  readonly model: string
  /** Which upstream request it comes from. */
  readonly serial: number
}

/** A chunk of a stream. The first has no content, the last says so. */
export interface Chunk extends Part {
  readonly index: number
  readonly last: boolean
}

/**
 * What upstream does with one request. `after` counts the chunks before it happens; a plain answer
 * fails at once.
 */
export interface Behaviour {
  readonly does: 'answer' | 'fail' | 'hang' | 'deaf' | 'cut' | 'stall' | 'short'
  /** Before the answer, and between chunks. Milliseconds. */
  readonly ms: number
  readonly after: number
  readonly error: UpstreamCode | 'foreign' | 'mistake'
  readonly retryAfter: number | undefined
}

/**
 * Who served a request: upstream, another one that a `fallback` or `hedge` goes to, a function that
 * gives a value, or one that has none.
 */
export type Site = 'here' | 'elsewhere' | 'value' | 'nothing'

/** One request as upstream saw it. */
export interface Served extends Ask {
  readonly serial: number
  readonly site: Site
  readonly tenant: string | undefined
  readonly cache: CacheMode
  /** Whether it is a second try beside a slow first one. */
  readonly optional: boolean
  readonly behaviour: Behaviour
  readonly began: Moment
  /** When its work was over: answered, failed, or told to stop. */
  ended: Moment | undefined
  outcome: 'complete' | 'short' | 'failed' | 'stopped' | undefined
  /** Chunks sent so far. */
  sent: number
}

const ANSWER: Behaviour = {
  does: 'answer',
  ms: 1,
  after: 0,
  error: 'SERVER',
  retryAfter: undefined,
}

/**
 * An upstream inside the process, on the clock: it plays its script request by request, and then
 * answers well.
 */
export class HistoryUpstream {
  readonly served: Served[] = []
  readonly active = { here: 0, elsewhere: 0, value: 0, nothing: 0 }
  readonly peak = { here: 0, elsewhere: 0, value: 0, nothing: 0 }
  /** Told at every beginning and end. */
  onChange = () => {}
  #script: Behaviour[]
  #held: (() => void)[] | undefined

  constructor(script: readonly Behaviour[]) {
    this.#script = [...script]
  }

  /** From now on every request is answered well. */
  recover(): void {
    this.#script = []
  }

  /** From now on requests wait for the returned function. */
  hold(): () => void {
    const held: (() => void)[] = []
    this.#held = held
    return () => {
      this.#held = undefined
      for (const go of held) go()
    }
  }

  /** The function to put layers around, here or elsewhere. */
  baseAt(site: Site): (request: Ask, context: Context) => Promise<unknown> {
    return base(
      (request: Ask, context: Context) => this.#serve(request, context, site),
      TRAITS as never,
    ) as never
  }

  /** Gives a value in place of an answer. */
  give(request: Ask, context: Context): Part[] {
    const served = this.#begin({ ...request, model: 'value', stream: false }, context, 'value')
    this.#end(served, 'complete')
    return partsOf(served)
  }

  #begin({ prompts, stream, model }: Ask, context: Context, site: Site): Served {
    const behaviour = (site === 'value' ? undefined : this.#script.shift()) ?? ANSWER
    const served: Served = {
      prompts,
      stream,
      model,
      site,
      tenant: context.tenant,
      cache: context.cache,
      optional: context.optional,
      serial: this.served.length,
      behaviour,
      began: now(),
      ended: undefined,
      outcome: undefined,
      sent: 0,
    }
    this.served.push(served)
    this.active[site]++
    this.peak[site] = Math.max(this.peak[site], this.active[site])
    this.onChange()
    return served
  }

  async #serve(request: Ask, context: Context, site: Site): Promise<unknown> {
    const { stream } = request
    const served = this.#begin(request, context, site)
    const { behaviour } = served
    const { signal } = context
    const onAbort = () => this.#end(served, 'stopped')
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await this.#work(served, behaviour.does === 'deaf' ? undefined : signal)
    } catch (error) {
      this.#end(served, 'failed')
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
    if (stream) return this.#stream(served)
    this.#end(served, 'complete')
    // Who is deaf answers well although nobody listens.
    served.outcome = 'complete'
    return partsOf(served)
  }

  /** Until the head of the answer. */
  async #work({ behaviour, stream }: Served, signal: AbortSignal | undefined): Promise<void> {
    const { does, ms, error, retryAfter } = behaviour
    if (this.#held) await new Promise<void>((resolve) => this.#held?.push(resolve))
    await pause(ms, signal)
    if (does === 'hang' || (does === 'stall' && !stream)) await pause(undefined, signal)
    if (does === 'fail' || (does === 'cut' && !stream)) throw failureOf(error, retryAfter)
  }

  #end(served: Served, outcome: Served['outcome']): void {
    if (served.ended !== undefined) return
    served.ended = now()
    served.outcome = outcome
    this.active[served.site]--
    this.onChange()
  }

  /** Made by hand: `return()` must reach it while a `next()` waits. */
  #stream(served: Served): AsyncIterable<Chunk> {
    const { does, after, ms } = served.behaviour
    const stop = new AbortController()
    const all = chunksOf(served)
    const next = async (): Promise<IteratorResult<Chunk, undefined>> => {
      if (served.ended !== undefined) return { done: true, value: undefined }
      try {
        if (served.sent > 0) await pause(ms, stop.signal)
        if (does === 'stall' && served.sent >= after) await pause(undefined, stop.signal)
      } catch {
        return { done: true, value: undefined }
      }
      if (does === 'cut' && served.sent >= after) {
        this.#end(served, 'failed')
        throw upstreamError('STREAM')
      }
      const chunk = does === 'short' && served.sent >= after ? undefined : all[served.sent]
      if (chunk === undefined) {
        this.#end(served, served.sent === all.length ? 'complete' : 'short')
        return { done: true, value: undefined }
      }
      served.sent++
      return { done: false, value: chunk }
    }
    return {
      [Symbol.asyncIterator]: () => ({
        next,
        return: async () => {
          this.#end(served, 'stopped')
          stop.abort()
          return { done: true, value: undefined }
        },
      }),
    }
  }
}

function failureOf(error: Behaviour['error'], retryAfter: number | undefined): Error {
  if (error === 'foreign') return new Error('the function failed')
  if (error === 'mistake') return new TypeError('the function is wrong')
  return upstreamError(error, { retryAfter })
}

/** Waits `ms`, without end when undefined, unless the signal comes first. */
function pause(ms: number | undefined, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = ms === undefined ? undefined : setTimeout(() => finish(resolve), ms)
    const onAbort = () => finish(() => reject(signal?.reason))
    const finish = (then: () => void) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      then()
    }
    if (signal?.aborted) onAbort()
    else signal?.addEventListener('abort', onAbort)
  })
}
