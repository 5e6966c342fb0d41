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

/** Counters of `cache()`, and what it holds. */
export interface CacheStats {
  readonly hits: number
  readonly misses: number
  /** Hits older than `ttlMs`, which are being renewed in the background. */
  readonly stale: number
  /** Calls without a key, which bypassed the cache. */
  readonly unkeyed: number
  /** Calls of functions whose answers can be read only once. They bypassed the cache. */
  readonly oneShot: number
  /** Gauge: entries in memory; 0 with `store`. */
  readonly entries: number
  /** Gauge: rough size in memory, in bytes; 0 with `store`. */
  readonly bytes: number
}

export interface AnswerCacheOptions {
  readonly name: string
  readonly ttlMs: number
  /** How long an entry is served, fresh or stale. */
  readonly keepMs: number
  /** The largest answer to store. */
  readonly maxBytes: number
  readonly store: EntryStore
  /**
   * Whether the store is outside the process, so that its keys must distinguish functions by name.
   */
  readonly isOutside: boolean
  readonly keyOf: ((request: unknown, context: Context) => unknown) | undefined
}

/**
 * Background renewals that take longer are aborted. The same limit that `standard()` sets for a
 * call. Milliseconds.
 */
const RENEWAL_MS = 300_000

/** Longer keys are replaced by their digest. Characters. */
const LONG_IDENTITY = 1_000

/** Runs calls through the cache. */
export class AnswerCache {
  readonly #options: AnswerCacheOptions
  readonly #counts = { hits: 0, misses: 0, stale: 0, unkeyed: 0, oneShot: 0 }
  readonly #oneShots = new OneShotBases()
  readonly #renewing = new Set<string>()
  /** Logs whose stream has been stored. The first reader to receive all of it stores it. */
  readonly #stored = new WeakSet<Log<unknown>>()
  /** Increases with each `clear()`. Answers that started before it are not stored. */
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
    // `meta` may belong to another call too. Remove that call's note.
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
      // With an external store and an unnamed function, the layer's `key` is the whole identity.
      const scope = this.#options.isOutside ? (base.sharedScope ?? '') : base.scope
      const known = identity.length > LONG_IDENTITY ? digest(identity) : identity
      return `${scope.length}:${scope} ${tenant === undefined ? '' : JSON.stringify(tenant)} ${known}`
    } catch (error) {
      hookFailed('cache: key()', error)
      return undefined
    }
  }

  /** Returns a stored answer in the form that the request asks for. */
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
        // Created for this caller only. Values without text are frozen like all other values.
        return isJsonData(value) ? value : share(value).take()
      }
      const chunks =
        answer.form === 'value'
          ? toStream?.(answer.value.take(), request)
          : replayed(chunksOf(answer), request, answer.variant)
      if (chunks === undefined) return NOT_SERVED
      return streamOver(chunks, undefined, { cancel: context.cancel, unreadMs })
    } catch (error) {
      hookFailed('cache: reading a stored entry', error)
      return NOT_SERVED
    }
  }

  /** Stores an answer once it is complete, and returns it. */
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
    // The base that created the stream has already decided.
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
    // Nobody waits for it, so a renewal that hangs would hold its slot unnoticed.
    const limit = new Timer(RENEWAL_MS, () =>
      cancel.abort(new TimeoutError(RENEWAL_MS, { layer: this.#options.name })),
    )
    try {
      const answer = this.#keep(call, await next(request, work.context), work.context, since)
      const stream = streamOf(answer)
      stream?.abortWith(cancel)
      if (stream) for await (const _ of stream);
    } catch {
      // The old answer stays until it expires.
    } finally {
      limit.stop()
      work.end()
      this.#renewing.delete(key)
    }
  }
}

/** A call with a key. */
interface CachedCall {
  readonly next: Handler
  readonly request: unknown
  readonly context: Context
  readonly key: string
}

/** A stream to store when it has ended. */
interface StreamToKeep {
  readonly key: string
  readonly base: BaseFacts
  /** The variant that was requested, if there are several. */
  readonly variant: string | undefined
  /** The generation in which it started. */
  readonly since: number
  /** The share of its normal lifetime for which to keep it. */
  readonly keep: number
}

/** The share of its lifetime for which an inner layer lets the answer be kept. */
function keptShare({ meta }: Context): number {
  const keep = meta.get(KEEP)
  return typeof keep === 'number' && keep >= 0 && keep <= 1 ? keep : 1
}

const NOT_SERVED: unique symbol = Symbol('not served')
