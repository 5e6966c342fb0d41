import {
  atOnce,
  type BaseFacts,
  type Context,
  digest,
  type Handler,
  hookFailed,
  isJsonData,
  KEEP,
  type Log,
  type MaybePromise,
  OneShotBases,
  proceed,
  type Stream,
  type StreamEnd,
  share,
  streamOf,
  streamOver,
  TimeoutError,
  Timer,
} from '../../core/index.js'
import { chunksOf, streamToStore, valuesOf } from '../stored-form.js'
import { type CacheNote, Note } from './note.js'
import { isSound, judge } from './soundness.js'
import type { Entry, EntryStore } from './store.js'

/** What `cache()` has counted, and what it holds. */
export interface CacheStats {
  readonly hits: number
  readonly misses: number
  /** Hits that were past their time and are being renewed. */
  readonly stale: number
  /** Calls without an identity, which bypassed it. */
  readonly unkeyed: number
  /** Calls of functions whose answers can be read only once, which bypassed it. */
  readonly oneShot: number
  /** Gauge; 0 for a store outside the process. */
  readonly entries: number
  /** Gauge, by a rough count; 0 for a store outside the process. */
  readonly bytes: number
}

export interface AnswerCacheOptions {
  readonly name: string
  readonly ttlMs: number
  /** Fresh or stale: how long an entry is served. */
  readonly keepMs: number
  /** The largest answer that is kept. */
  readonly maxBytes: number
  readonly store: EntryStore
  /** Whether other processes have the same store, so that keys must tell functions apart there. */
  readonly isOutside: boolean
  readonly keyOf: ((request: unknown, context: Context) => unknown) | undefined
}

/**
 * A renewal behind a stale entry that takes longer is given up: what `standard()` allows a call.
 * Milliseconds.
 */
const RENEWAL_MS = 300_000

/** Longer identities are known by their digest. Characters. */
const LONG_IDENTITY = 1_000

/** The flow of a call through the cache. */
export class AnswerCache {
  readonly #options: AnswerCacheOptions
  readonly #counts = { hits: 0, misses: 0, stale: 0, unkeyed: 0, oneShot: 0 }
  readonly #oneShots = new OneShotBases()
  readonly #renewing = new Set<string>()
  /** Streams that have been stored: each is, once, by the first reader that has all of it. */
  readonly #stored = new WeakSet<Log<unknown>>()
  /** Grows with each `clear()`: answers that began before are not stored. */
  #generation = 0

  constructor(options: AnswerCacheOptions) {
    this.#options = options
    options.store.onCleared?.(() => {
      this.#generation++
    })
  }

  answer<Request, Answer>(
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ): MaybePromise<Answer> {
    if (context.cache === 'no-store') return next(request, context)
    if (this.#oneShots.has(context.base)) {
      this.#counts.oneShot++
      return next(request, context)
    }
    const key = this.#keyOf(request, context)
    if (key === undefined) {
      this.#counts.unkeyed++
      return next(request, context)
    }
    const call = { next: next as Handler, request, context, key }
    const found = context.cache === 'reload' ? undefined : this.#options.store.get(key)
    return proceed(found, (entry) => this.#found(call, entry)) as MaybePromise<Answer>
  }

  stats(): CacheStats {
    const { store } = this.#options
    return { ...this.#counts, entries: store.entries(), bytes: store.bytes() }
  }

  async clear(): Promise<void> {
    this.#generation++
    await this.#options.store.clear()
  }

  async delete(key: string): Promise<boolean> {
    return this.#options.store.delete(key)
  }

  #found(call: CachedCall, entry: Entry | undefined | null): unknown {
    const { context, key } = call
    const { ttlMs, keepMs } = this.#options
    context.cancel.throwIfAborted()
    if (entry === null) return this.#miss(call, true)
    const served = entry && entry.ageMs <= keepMs ? this.#serve(entry, call) : NOT_SERVED
    if (entry === undefined || served === NOT_SERVED) return this.#miss(call)
    this.#counts.hits++
    const status = entry.ageMs <= ttlMs ? 'hit' : 'stale'
    if (status === 'stale') {
      this.#counts.stale++
      void this.#renew(call)
    }
    this.#note(context, status, key)
    return served
  }

  #miss(call: CachedCall, alone = false): unknown {
    const { next, request, context, key } = call
    this.#counts.misses++
    this.#note(context, 'miss', key, alone)
    const since = this.#generation
    // Notes of another call with the same map say nothing of this one.
    context.meta.delete(KEEP)
    return proceed(next(request, context), (answer) => this.#keep(call, answer, context, since))
  }

  #note(context: Context, status: CacheNote['status'], key: string, alone = false): void {
    const { name } = this.#options
    context.meta.set(name, new Note(status, key, alone))
    context.trace?.cache(name, status)
    if (alone) context.trace?.alone(name)
  }

  #keyOf(request: unknown, context: Context): string | undefined {
    const { keyOf } = this.#options
    try {
      const identity: unknown =
        keyOf === undefined ? context.keyOf(request, 'cache') : atOnce(keyOf(request, context))
      if (typeof identity !== 'string') return undefined
      const { tenant, base } = context
      // Without a scope of its own in a store, the layer's `key` is the whole identity there.
      const scope = this.#options.isOutside ? (base.sharedScope ?? '') : base.scope
      const known = identity.length > LONG_IDENTITY ? digest(identity) : identity
      return `${scope.length}:${scope} ${tenant === undefined ? '' : JSON.stringify(tenant)} ${known}`
    } catch (error) {
      hookFailed('cache: key()', error)
      return undefined
    }
  }

  /** A stored answer in the form that the request asks for. */
  #serve(entry: Entry, { request, context, key }: CachedCall): unknown {
    const { answer, isForeign } = entry
    const { streams, toStream, fromStream, replay: replayed, unreadMs } = context.base
    try {
      if (isForeign) {
        if (!isSound(answer, context.base)) return NOT_SERVED
        this.#options.store.proved?.(key, entry)
      }
      const wantsStream = streams?.(request) ?? answer.form !== 'value'
      if (!wantsStream) {
        if (answer.form === 'value') return answer.value.take()
        const value = fromStream?.(valuesOf(chunksOf(answer)), request)
        if (value === undefined) return NOT_SERVED
        // Made for this caller alone; what holds no text is frozen as every value is.
        return isJsonData(value) ? value : share(value).take()
      }
      const chunks =
        answer.form === 'value'
          ? toStream?.(answer.value.take(), request)
          : replayed(chunksOf(answer), request, answer.variant)
      if (chunks === undefined) return NOT_SERVED
      return streamOver(chunks, undefined, { cancel: context.cancel, unreadMs })
    } catch (error) {
      hookFailed('cache: reading a stored answer', error)
      return NOT_SERVED
    }
  }

  /** Stores an answer when it is complete, and hands it on. */
  #keep({ key, request }: CachedCall, answer: unknown, context: Context, since: number): unknown {
    const stream = streamOf(answer)
    const keep = keptShare(context)
    if (stream === undefined) {
      const shared = share(answer)
      if (shared.isOneShot) {
        this.#oneShots.add(context.base)
        return answer
      }
      const { valid } = context.base
      if (keep > 0 && since === this.#generation && judge('valid()', () => valid(answer)))
        this.#options.store.set(key, { form: 'value', value: shared }, keep)
      return shared.take()
    }
    if (keep === 0) return stream
    stream.log.keep(this.#options.maxBytes)
    const { base } = context
    const kept = { key, base, variant: base.variant(request), since, keep }
    stream.onEnd((end) => this.#streamEnded(kept, stream, end))
    return stream
  }

  #streamEnded(
    { key, base, variant, since, keep }: StreamToKeep,
    { log }: Stream<unknown>,
    { outcome, cacheable }: StreamEnd,
  ): void {
    if (outcome !== 'complete' || cacheable === false || since !== this.#generation) return
    if (!log.isWhole || log.keptBytes > this.#options.maxBytes || this.#stored.has(log)) return
    this.#stored.add(log)
    const answer = streamToStore(log.kept, log.frames, variant)
    if (answer.form === 'stream' && answer.chunks.isOneShot) return this.#oneShots.add(base)
    // The base that the stream came from has judged it already.
    const isComplete = () => log.judge === base || base.complete(valuesOf(chunksOf(answer)))
    if (judge('complete()', isComplete)) this.#options.store.set(key, answer, keep)
  }

  async #renew(call: CachedCall): Promise<void> {
    const { next, request, context, key } = call
    if (this.#renewing.has(key) || context.closing.aborted) return
    this.#renewing.add(key)
    const since = this.#generation
    const work = context.detach()
    const { cancel } = work.context
    // Nobody waits for it, so nobody would miss what hangs and keeps a slot.
    const limit = new Timer(RENEWAL_MS, () =>
      cancel.abort(new TimeoutError(RENEWAL_MS, { layer: this.#options.name })),
    )
    try {
      const answer = this.#keep(call, await next(request, work.context), work.context, since)
      const stream = streamOf(answer)
      stream?.abortWith(cancel)
      if (stream) for await (const _ of stream);
    } catch {
      // The old answer stays until its time is over.
    } finally {
      limit.stop()
      work.end()
      this.#renewing.delete(key)
    }
  }
}

/** A call with an identity, on its way through the cache. */
interface CachedCall {
  readonly next: Handler
  readonly request: unknown
  readonly context: Context
  readonly key: string
}

/** A stream that may be stored when it has ended. */
interface StreamToKeep {
  readonly key: string
  readonly base: BaseFacts
  /** In which of several it was asked for. */
  readonly variant: string | undefined
  /** The generation in which it began. */
  readonly since: number
  /** The share of its time that it is kept for. */
  readonly keep: number
}

/** For which share of its time a layer further in lets this answer be kept. */
function keptShare({ meta }: Context): number {
  const keep = meta.get(KEEP)
  return typeof keep === 'number' && keep >= 0 && keep <= 1 ? keep : 1
}

const NOT_SERVED: unique symbol = Symbol('not served')
