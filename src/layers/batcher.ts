import {
  type AbortListener,
  type Context,
  check,
  defineLayer,
  type Handler,
  hookFailed,
  isStackError,
  type Layer,
  rules,
  type SharedWork,
  Timer,
} from '../core/index.js'

/** Options of `batcher()`. */
export interface BatcherOptions<Name extends string = 'batcher'> {
  /** Inputs in one upstream call at most. @default 32, what Blossom's embeddings take */
  maxItems?: number | undefined
  /** How long the first input waits for others. Milliseconds. @default 5 */
  maxDelayMs?: number | undefined
  /** Key in `stats()`. @default 'batcher' */
  name?: Name | undefined
}

/** What `batcher()` has counted. */
export interface BatcherStats {
  /** Upstream calls begun. */
  readonly batches: number
  /** Inputs in them. */
  readonly items: number
}

interface Item {
  readonly request: unknown
  readonly size: number
  resolve(answer: unknown): void
  reject(error: unknown): void
  gone: boolean
}

interface Batch {
  readonly work: SharedWork
  readonly timer: Timer
  /** Hears when the stack begins to close. */
  readonly closing: AbortListener
  readonly items: Item[]
  /** Inputs of the items that are still there. */
  size: number
  /** Items that wait for their answer. */
  open: number
}

/**
 * Merges calls that come at about the same time into one, and splits its answer in order. Works
 * around any function from an array to an array of the same length, and around the client's
 * embeddings; other requests pass by. When a batch is refused for one bad input, that input fails
 * alone. Calls of different tenants are never merged.
 *
 * @throws TypeError, in every call of the batch, when the function's answer is no array of one item
 * for each input
 * @example const embed = stack(embedMany, batcher({ maxItems: 32 })); const [vector] = await embed(['Hello'])
 */
export function batcher<const Name extends string = 'batcher'>(
  options: BatcherOptions<Name> = {},
): Layer<Name, BatcherStats> {
  const { maxItems, maxDelayMs, name } = check('batcher', options, {
    maxItems: rules.integer(32, { min: 1, max: 100_000 }),
    maxDelayMs: rules.duration(5, { min: 0 }),
    name: rules.layerName<Name>('batcher'),
  })
  const stats = { batches: 0, items: 0 }

  return defineLayer({
    name,
    kind: 'batcher',
    outside: {
      queue: 'every input holds a slot while its batch fills; put batcher outside.',
      pool: 'every input holds a connection while its batch fills; put batcher outside.',
    },
    wrap: (next) => {
      const filling = new Map<string, Batch>()

      const begin = (group: string, context: Context): Batch => {
        const work = context.detach()
        const flushNow = () => flush(group, batch)
        const batch: Batch = {
          work,
          timer: new Timer(maxDelayMs, flushNow),
          closing: { abort: flushNow },
          items: [],
          size: 0,
          open: 0,
        }
        filling.set(group, batch)
        // What everybody has left before it began must take in nobody else.
        work.context.cancel.add({ abort: flushNow })
        return batch
      }

      const flush = (group: string, batch: Batch) => {
        if (filling.get(group) !== batch) return
        filling.delete(group)
        batch.timer.stop()
        batch.work.context.closing.remove(batch.closing)
        void run(batch.items, batch.work.context).finally(() => batch.work.end())
      }

      /** Answers every item, whatever happens. Resolves with whether all have failed. */
      const run = async (all: readonly Item[], context: Context): Promise<boolean> => {
        const items = all.filter((item) => !item.gone)
        if (items.length === 0) return true
        const failAll = (error: unknown): true => {
          for (const item of items) item.reject(error)
          return true
        }
        stats.batches++
        stats.items += items.reduce((sum, item) => sum + item.size, 0)
        let parts: () => unknown[]
        try {
          parts = await ask(next, items, context)
        } catch (error) {
          if (items.length === 1 || context.cancel.aborted || !mayBeOneInput(error))
            return failAll(error)
          return await halve(items, context, error)
        }
        try {
          const answers = parts()
          for (const [i, item] of items.entries()) item.resolve(answers[i])
          return false
        } catch (error) {
          // An answer that cannot be cut is no input's fault.
          return failAll(error)
        }
      }

      /** Which input is the bad one is found by halving: about 2 log₂ n calls. */
      const halve = async (
        items: readonly Item[],
        context: Context,
        error: unknown,
      ): Promise<boolean> => {
        const middle = items.length >> 1
        const firstFailed = await run(items.slice(0, middle), context)
        const rest = items.slice(middle)
        // A foreign error may as well be an outage: once a whole half has failed with one, the
        // other is asked as a whole or not at all.
        if (firstFailed && !isStackError(error) && middle > 1) {
          for (const item of rest) item.reject(error)
          return true
        }
        return (await run(rest, context)) && firstFailed
      }

      return async (request, context) => {
        const { base, tenant, cache } = context
        const split = base.streams?.(request) === true ? undefined : splitOf(request, context)
        if (split === undefined || split.size === 0 || split.size >= maxItems)
          return next(request, context)
        const group = JSON.stringify([tenant ?? null, cache, split.group])
        const open = filling.get(group)
        if (open !== undefined && open.size + split.size > maxItems) flush(group, open)
        const batch = filling.get(group) ?? begin(group, context)
        if (batch.items.length > 0) context.trace?.joined(name, batch.work.context.trace)
        const answer = enter(batch, request, split.size, context)
        if (batch.size >= maxItems) flush(group, batch)
        else if (batch.items.length === 1 && filling.get(group) === batch)
          context.closing.add(batch.closing)
        return answer as Promise<never>
      }
    },
    stats: () => ({ ...stats }),
  })
}

/** Puts a call into a batch; it can leave by itself, before and after the batch has begun. */
function enter(batch: Batch, request: unknown, size: number, context: Context): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const leave = batch.work.join(context)
    const settle = (then: () => void) => {
      if (item.gone) return
      context.cancel.remove(onAbort)
      batch.work.tell(context)
      // Who has his answer keeps the others' work neither going nor within his deadline; the last
      // to get one aborts nothing.
      if (--batch.open > 0) leave()
      then()
    }
    const item: Item = {
      request,
      size,
      resolve: (answer) => settle(() => resolve(answer)),
      reject: (error) => settle(() => reject(error)),
      gone: false,
    }
    const onAbort: AbortListener = {
      abort(reason) {
        item.gone = true
        batch.size -= size
        batch.open--
        leave(reason)
        reject(reason)
      },
    }
    batch.items.push(item)
    batch.size += size
    batch.open++
    context.cancel.add(onAbort)
  })
}

/**
 * What the base says of the request; nothing when it throws, or says what cannot be counted with.
 */
function splitOf(request: unknown, { base }: Context) {
  try {
    const split = base.split(request)
    return split &&
      typeof split.group === 'string' &&
      Number.isInteger(split.size) &&
      split.size >= 0
      ? split
      : undefined
  } catch (error) {
    hookFailed('batcher: split()', error)
    return undefined
  }
}

/** Asks for several items at once. Resolves with what cuts the answer into theirs. */
async function ask(
  next: Handler,
  items: readonly Item[],
  context: Context,
): Promise<() => unknown[]> {
  const [only] = items
  if (items.length === 1 && only !== undefined) {
    const answer = await next(only.request, context)
    return () => [answer]
  }
  const merged = context.base.merge(items.map(({ request }) => request))
  const answer = await next(merged.request, context)
  return () => {
    let from = 0
    return items.map(({ size }) => {
      const part = merged.part(answer, from, size)
      from += size
      return part
    })
  }
}

/**
 * Whether one input of many can be the reason: upstream refused what was said, or somebody else's
 * function threw.
 */
function mayBeOneInput(error: unknown): boolean {
  return isStackError(error)
    ? ['BAD_REQUEST', 'VALIDATION', 'TOO_LARGE'].includes(error.code)
    : true
}
