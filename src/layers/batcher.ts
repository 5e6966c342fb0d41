import {
  type AbortListener,
  type Context,
  check,
  defineLayer,
  type Handler,
  isStackError,
  type Layer,
  rules,
  type SharedWork,
  Timer,
} from '../core/index.js'

export interface BatcherOptions<Name extends string = 'batcher'> {
  /** Inputs in one upstream call at most. @default 32, what Blossom's embeddings take */
  maxItems?: number | undefined
  /** How long the first input waits for others. Milliseconds. @default 5 */
  maxDelayMs?: number | undefined
  /** Key in `stats()`. @default 'batcher' */
  name?: Name | undefined
}

export interface BatcherStats {
  /** Upstream calls begun. */
  readonly batches: number
  /** Inputs in them. */
  readonly items: number
}

interface Item {
  readonly request: unknown
  readonly size: number
  readonly context: Context
  leave(reason?: unknown): void
  resolve(answer: unknown): void
  reject(error: unknown): void
  gone: boolean
}

interface Batch {
  readonly work: SharedWork
  readonly timer: Timer
  readonly items: Item[]
  size: number
}

/**
 * Merges calls that come at about the same time into one, and splits its answer in order. Works around any function from an array to an array of
 * the same length, and around the client's embeddings; other requests pass by. When a batch is refused for one bad input, that input fails alone.
 * Calls of different tenants are never merged.
 *
 * @throws TypeError when the function's answer is no array
 * @example const embed = stack(embedMany, batcher({ maxItems: 32 })); const [vector] = await embed(['Hello'])
 */
export function batcher<const Name extends string = 'batcher'>(options: BatcherOptions<Name> = {}): Layer<Name, BatcherStats> {
  const { maxItems, maxDelayMs, name } = check('batcher', options, {
    maxItems: rules.integer(32, { min: 1, max: 100_000 }),
    maxDelayMs: rules.duration(5, { min: 0 }),
    name: rules.layerName<Name>('batcher'),
  })
  const stats = { batches: 0, items: 0 }
  const flushes = new Set<() => void>()

  return defineLayer({
    name,
    kind: 'batcher',
    outside: {
      queue: 'every input holds a slot while its batch fills; put batcher outside.',
      pool: 'every input holds a connection while its batch fills; put batcher outside.',
    },
    wrap: (next) => {
      const filling = new Map<string, Batch>()

      const flush = (group: string, batch: Batch) => {
        if (filling.get(group) !== batch) return
        filling.delete(group)
        batch.timer.stop()
        const items = batch.items.filter((item) => !item.gone)
        void run(items, batch.work.context).finally(() => batch.work.end())
      }
      flushes.add(() => {
        for (const [group, batch] of filling) flush(group, batch)
      })

      /** Answers every item, whatever happens. Resolves with whether all have failed. */
      const run = async (items: readonly Item[], context: Context): Promise<boolean> => {
        if (items.length === 0) return true
        try {
          stats.batches++
          stats.items += items.reduce((sum, item) => sum + item.size, 0)
          const answers = await ask(next, items, context)
          for (const [i, item] of items.entries()) item.resolve(answers[i])
          return false
        } catch (error) {
          if (items.length === 1 || context.cancel.aborted || !mayBeOneInput(error)) {
            for (const item of items) item.reject(error)
            return true
          }
          return await halve(items, context, error)
        }
      }

      /** Which input is the bad one is found by halving: about 2 log₂ n calls. */
      const halve = async (items: readonly Item[], context: Context, error: unknown): Promise<boolean> => {
        const middle = items.length >> 1
        const firstFailed = await run(items.slice(0, middle), context)
        const rest = items.slice(middle)
        // A foreign error may as well be an outage: once a whole half has failed with one, the other is asked as a whole or not at all.
        if (firstFailed && !isStackError(error) && middle > 1) {
          for (const item of rest) item.reject(error)
          return true
        }
        return (await run(rest, context)) && firstFailed
      }

      return async (request, context) => {
        const { base, tenant, cache } = context
        const split = base.streams?.(request) === true ? undefined : base.split(request)
        if (split === undefined || split.size === 0 || split.size >= maxItems) return next(request, context)
        const group = JSON.stringify([tenant ?? null, cache, split.group])
        const open = filling.get(group)
        if (open !== undefined && open.size + split.size > maxItems) flush(group, open)
        let batch = filling.get(group)
        if (batch === undefined) {
          const fresh: Batch = { work: context.detach(), timer: new Timer(maxDelayMs, () => flush(group, fresh)), items: [], size: 0 }
          filling.set(group, fresh)
          batch = fresh
        }
        const answer = enter(batch, request, split.size, context)
        if (batch.size >= maxItems || context.closing.aborted) flush(group, batch)
        return answer as Promise<never>
      }
    },
    stats: () => ({ ...stats }),
    drain: () => {
      for (const flush of flushes) flush()
    },
  })
}

/** Puts a call into a batch; it can leave by itself, before and after the batch has begun. */
function enter(batch: Batch, request: unknown, size: number, context: Context): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => {
      context.cancel.remove(onAbort)
      batch.work.tell(context)
      then()
    }
    const item: Item = {
      request,
      size,
      context,
      leave: batch.work.join(context),
      resolve: (answer) => settle(() => resolve(answer)),
      reject: (error) => settle(() => reject(error)),
      gone: false,
    }
    const onAbort: AbortListener = {
      abort(reason) {
        item.gone = true
        batch.size -= size
        item.leave(reason)
        reject(reason)
      },
    }
    batch.items.push(item)
    batch.size += size
    context.cancel.add(onAbort)
  })
}

async function ask(next: Handler, items: readonly Item[], context: Context): Promise<unknown[]> {
  const [only] = items
  if (items.length === 1 && only !== undefined) return [await next(only.request, context)]
  const merged = context.base.merge(items.map(({ request }) => request))
  const answer = await next(merged.request, context)
  let from = 0
  return items.map(({ size }) => {
    const part = merged.part(answer, from, size)
    from += size
    return part
  })
}

/** Whether one input of many can be the reason: upstream refused what was said, or somebody else's function threw. */
function mayBeOneInput(error: unknown): boolean {
  return isStackError(error) ? ['BAD_REQUEST', 'VALIDATION', 'TOO_LARGE'].includes(error.code) : true
}
