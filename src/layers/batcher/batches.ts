import {
  Cancel,
  type Context,
  hookFailed,
  type MaybePromise,
  TransientMap,
} from '../../core/index.js'
import { Batch, type BatchOptions } from './batch.js'

/**
 * The batches of one stack that are being filled, one for each group of calls that may be merged.
 */
export class Batches {
  readonly #options: BatchOptions
  readonly #filling = new TransientMap<Batch>()

  constructor(options: BatchOptions) {
    this.#options = options
  }

  /** Runs a call: merged with others when it is small, divided when it is too large. */
  run(request: unknown, context: Context): MaybePromise<unknown> {
    const split = splitOf(request, context)
    return split !== undefined && split.size > this.#options.maxItems
      ? this.#runDivided(request, split, context)
      : this.#runMerged(request, split, context)
  }

  #runMerged(request: unknown, split: Split | undefined, context: Context): MaybePromise<unknown> {
    const { maxItems, next, stats } = this.#options
    // A call that must not wait is sent alone.
    if (split === undefined || split.size === 0 || context.optional) return next(request, context)
    if (split.size < maxItems) {
      const batch = this.#batchFor(groupOf(split, context), split.size, context)
      return batch.join(request, split.size, context)
    }
    stats.batches++
    stats.items += split.size
    return next(request, context)
  }

  async #runDivided(request: unknown, split: Split, context: Context): Promise<unknown> {
    const divided = context.base.divide?.(request, this.#options.maxItems)
    if (divided === undefined) return this.#runMerged(request, split, context)
    const parts = new Cancel()
    const inside = context.derive({ cancel: parts })
    context.cancel.add(parts)
    try {
      const answers = divided.requests.map(async (part) =>
        this.#runMerged(part, splitOf(part, context), inside),
      )
      return divided.join(await Promise.all(answers))
    } catch (error) {
      // Without one part the other parts are useless.
      parts.abort(error)
      throw error
    } finally {
      context.cancel.remove(parts)
    }
  }

  #batchFor(group: string, size: number, context: Context): Batch {
    let batch = this.#filling.get(group)
    // Loops only when the base, called by `send()`, calls this stack again.
    while (batch !== undefined && !batch.hasRoomFor(size)) {
      batch.send()
      batch = this.#filling.get(group)
    }
    return batch ?? new Batch(this.#options, this.#filling, group, context.detach())
  }
}

type Split = NonNullable<ReturnType<Context['base']['split']>>

function groupOf({ group }: Split, { tenant, cache, via }: Context): string {
  return `${cache} ${via}${tenant === undefined ? '' : JSON.stringify(tenant)} ${group}`
}

/**
 * The number of inputs in a request, from the base's `split` trait. Undefined when the trait throws
 * or returns an invalid value, or when the request asks for a stream.
 */
function splitOf(request: unknown, { base }: Context): Split | undefined {
  if (base.streams?.(request) === true) return undefined
  try {
    const split = base.split(request)
    return split !== undefined && isSplit(split) ? split : undefined
  } catch (error) {
    hookFailed('batcher: split()', error)
    return undefined
  }
}

function isSplit({ group, size }: Split): boolean {
  return typeof group === 'string' && Number.isInteger(size) && size >= 0
}
