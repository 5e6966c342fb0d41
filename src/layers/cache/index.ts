import {
  atOnce,
  type BaseFacts,
  type Context,
  check,
  defineLayer,
  digest,
  hookFailed,
  type Layer,
  replay,
  rules,
  type Shared,
  share,
  shareList,
  streamOf,
  TimeoutError,
  Timer,
  warn,
} from '../../core/index.js'
import { type CacheStore, type Entry, keyvStore, memoryStore } from './store.js'

export type { CacheStore } from './store.js'

/** Options of `cache()`. */
export interface CacheOptions<Name extends string = 'cache', Request = unknown> {
  /** How long an answer is fresh. Milliseconds. @default 1800000 (30 minutes) */
  ttlMs?: number | undefined
  /**
   * How long after that it is still served, at once, while one call renews it behind the scenes; if
   * that fails the old answer stays. Milliseconds.
   * @default 0
   */
  staleMs?: number | undefined
  /** In memory only. @default 1000 */
  maxEntries?: number | undefined
  /** In memory only, by a rough count. Bytes. @default 67108864 (64 MiB) */
  maxBytes?: number | undefined
  /** A `Keyv`, a Keyv store such as `@keyv/redis`, or a `Map`. @default in memory, bounded */
  store?: CacheStore | undefined
  /**
   * Longest wait for an operation of `store`; then the call goes upstream. Milliseconds.
   * @default 250
   */
  storeTimeoutMs?: number | undefined
  /**
   * The request's identity; when it gives none, or throws, the call passes the cache by. The tenant
   * is always added.
   * @default what the base tells, else stable JSON
   */
  key?: ((request: Request, context: Context) => string | undefined) | undefined
  /** Key in `stats()`. @default 'cache' */
  name?: Name | undefined
}

/** What `cache()` has counted, and what it holds. */
export interface CacheStats {
  readonly hits: number
  readonly misses: number
  /** Hits that were past their time and are being renewed. */
  readonly stale: number
  /** Calls without an identity, which passed by. */
  readonly unkeyed: number
  /** Gauge; 0 for a store outside the process. */
  readonly entries: number
  /** Gauge, by a rough count; 0 for a store outside the process. */
  readonly bytes: number
}

/** What a call's `meta` holds under the layer's name. */
export interface CacheNote {
  readonly status: 'hit' | 'miss' | 'stale'
  /** The entry's key, for `delete`. */
  readonly key: string
}

/**
 * A renewal behind a stale entry that takes longer is given up: what `standard()` allows a call.
 * Milliseconds.
 */
const RENEWAL_MS = 300_000

/** A cache layer can also be emptied. */
export interface CacheLayer<Name extends string, Request = unknown>
  extends Layer<Name, CacheStats, Request> {
  /** Forgets everything; answers under way are not stored either. */
  clear(): Promise<void>
  /** Forgets one entry, by the `key` of a call's note. Resolves with whether it was there. */
  delete(key: string): Promise<boolean>
}

/**
 * Keeps complete answers and gives them again. Streams are stored chunk by chunk and replayed as
 * streams; where the base can convert, one stored form serves both. JSON answers are deeply frozen,
 * on a miss as on a hit; bytes are copied for each caller. A store outside the process that fails,
 * is slow, or holds nonsense costs a miss and never a call.
 *
 * A call with `cache: 'reload'` reads nothing stored, one with `'no-store'` passes by. Tenants
 * never share.
 *
 * @example cache({ ttlMs: 10 * 60_000, staleMs: 60 * 60_000 })
 * @see https://www.rfc-editor.org/rfc/rfc5861 stale-while-revalidate
 */
export function cache<const Name extends string = 'cache', Request = unknown>(
  options: CacheOptions<Name, Request> = {},
): CacheLayer<Name, Request> {
  const { ttlMs, staleMs, maxEntries, maxBytes, store, storeTimeoutMs, key, name } = check(
    'cache',
    options,
    {
      ttlMs: rules.duration(30 * 60_000),
      staleMs: rules.duration(0, { min: 0 }),
      maxEntries: rules.integer(1_000, { min: 1, max: 10_000_000 }),
      maxBytes: rules.integer(64 * 1024 * 1024, { min: 1 }),
      store: rules.custom<CacheStore, undefined>(
        'a Keyv, a Keyv store or a Map',
        undefined,
        isStore,
      ),
      storeTimeoutMs: rules.duration(250),
      key: rules.callback<(request: Request, context: Context) => string | undefined>(),
      name: rules.layerName<Name>('cache'),
    },
  )
  const keepMs = ttlMs + staleMs
  const kept =
    store === undefined
      ? memoryStore(keepMs, maxEntries, maxBytes)
      : keyvStore(store, keepMs, storeTimeoutMs)
  const stats = { hits: 0, misses: 0, stale: 0, unkeyed: 0 }
  /** Grows with each `clear()`: answers that began before are not stored. */
  let generation = 0
  const renewing = new Set<string>()

  const keyOf = (request: unknown, context: Context): string | undefined => {
    const { base, tenant } = context
    try {
      const identity: unknown =
        key === undefined
          ? context.keyOf(request, 'cache')
          : atOnce(key(request as Request, context))
      const scope = scopeOf(base)
      if (typeof identity !== 'string' || scope === undefined) return undefined
      return digest(scope, tenant === undefined ? '' : `tenant ${tenant}`, identity)
    } catch (error) {
      hookFailed('cache: key()', error)
      return undefined
    }
  }

  /** Functions by the names that a store outside the process knows them by. */
  const named = new Map<string, string>()
  /** What tells this base's entries from another's; undefined when nothing does. */
  const scopeOf = ({ scope, name: title }: BaseFacts): string | undefined => {
    if (store === undefined || scope === '') return scope
    const first = named.get(title) ?? scope
    named.set(title, first)
    if (first === scope) return title
    warn(
      `cache: two functions named ${title} share one store; the second is not cached. Give each a key of its own with base().`,
    )
    return undefined
  }

  /** A stored answer in the form that the request asks for; undefined when it cannot be had. */
  const serve = (
    entry: Entry,
    request: unknown,
    context: Context,
  ): { answer: unknown } | undefined => {
    const { streams, toStream, fromStream, valid, complete, unreadMs } = context.base
    try {
      const content = entry.content.take()
      const isChunks = entry.form === 'stream'
      // What comes from outside is judged again.
      if (store !== undefined && !(isChunks ? complete(content as unknown[]) : valid(content)))
        return undefined
      const wantsStream = streams?.(request) ?? isChunks
      if (wantsStream) {
        const chunks = isChunks ? (content as unknown[]) : toStream?.(content, request)
        return chunks && { answer: replay(chunks, { cancel: context.cancel, unreadMs }) }
      }
      if (!isChunks) return { answer: content }
      const value = fromStream?.(content as unknown[], request)
      return value === undefined ? undefined : { answer: share(value).take() }
    } catch (error) {
      hookFailed('cache: reading a stored answer', error)
      return undefined
    }
  }

  /** Stores a complete answer, and hands it on in the shared form. */
  const keep = (id: string, answer: unknown, context: Context, since: number): unknown => {
    const { valid, complete } = context.base
    const stream = streamOf(answer)
    if (stream === undefined) {
      const shared = share(answer)
      if (since === generation && judge('valid()', () => valid(answer)))
        kept.set(id, 'value', shared)
      return shared.take()
    }
    // A source that tells the text of its chunks has judged them, too.
    const transcript = kept.setText && stream.transcribe?.(maxBytes, context.base)
    const chunks: Shared[] = []
    let bytes = 0
    stream.tap((chunk) => {
      if (bytes > maxBytes) return
      const shared = share(chunk)
      if (transcript !== undefined) return
      bytes += shared.bytes
      if (bytes > maxBytes) chunks.length = 0
      else chunks.push(shared)
    })
    stream.onEnd(({ outcome, cacheable }) => {
      if (outcome !== 'complete' || cacheable === false || bytes > maxBytes || since !== generation)
        return
      if (transcript !== undefined) {
        const text = transcript()
        if (text !== undefined) kept.setText?.(id, text)
        return
      }
      const all = shareList(chunks)
      if (judge('complete()', () => complete(all.take() as unknown[]))) kept.set(id, 'stream', all)
    })
    return stream
  }

  return Object.assign(
    defineLayer({
      name,
      kind: 'cache',
      outside: {
        queue: 'a hit waits for a slot and holds it; put cache outside.',
        pool: 'a hit waits for a connection and holds it; put cache outside.',
        breaker: 'hits are refused while the breaker is open; put cache outside.',
        batcher: 'inputs are looked up by the batch, never one by one; put cache outside.',
      },
      wrap: (next) => {
        const renew = async (id: string, request: unknown, context: Context): Promise<void> => {
          if (renewing.has(id) || context.closing.aborted) return
          renewing.add(id)
          const since = generation
          const work = context.detach()
          // Nobody waits for it, so nobody would miss what hangs and keeps a slot.
          const limit = new Timer(RENEWAL_MS, () =>
            work.context.cancel.abort(new TimeoutError(RENEWAL_MS, { layer: name })),
          )
          try {
            const answer = keep(id, await next(request, work.context), work.context, since)
            const stream = streamOf(answer)
            stream?.obey(work.context.cancel)
            if (stream) for await (const _ of stream);
          } catch {
            // The old answer stays until its time is over.
          } finally {
            limit.stop()
            work.end()
            renewing.delete(id)
          }
        }

        return async (request, context) => {
          if (context.cache === 'no-store') return next(request, context)
          const id = keyOf(request, context)
          if (id === undefined) {
            stats.unkeyed++
            return next(request, context)
          }
          const since = generation
          if (context.cache !== 'reload') {
            const looked = kept.get(id)
            const entry = looked instanceof Promise ? await looked : looked
            context.cancel.throwIfAborted()
            const served =
              entry && entry.ageMs <= keepMs ? serve(entry, request, context) : undefined
            if (entry && served) {
              const fresh = entry.ageMs <= ttlMs
              stats.hits++
              if (!fresh) {
                stats.stale++
                void renew(id, request, context)
              }
              context.meta.set(name, {
                status: fresh ? 'hit' : 'stale',
                key: id,
              } satisfies CacheNote)
              context.trace?.cache(name, fresh ? 'hit' : 'stale')
              return served.answer
            }
          }
          stats.misses++
          context.meta.set(name, { status: 'miss', key: id } satisfies CacheNote)
          context.trace?.cache(name, 'miss')
          return keep(id, await next(request, context), context, since)
        }
      },
      stats: () => ({ ...stats, entries: kept.entries(), bytes: kept.bytes() }),
    }),
    {
      async clear() {
        generation++
        await kept.clear()
      },
      delete: async (id: string) => await kept.delete(id),
    },
  )
}

function judge(name: string, ask: () => boolean): boolean {
  try {
    return ask()
  } catch (error) {
    hookFailed(`cache: ${name}`, error)
    return false
  }
}

function isStore(value: unknown): boolean {
  const store = value as Partial<Record<'get' | 'set' | 'delete' | 'clear', unknown>> | null
  return (
    typeof store === 'object' &&
    store !== null &&
    (['get', 'set', 'delete', 'clear'] as const).every(
      (method) => typeof store[method] === 'function',
    ) &&
    // Keyv writes its namespace on a store, which a frozen one refuses.
    (Object.isExtensible(store) || 'useKeyPrefix' in store)
  )
}
