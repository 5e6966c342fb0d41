import { type Context, hookFailed, type MaybePromise, TransientMap } from '../../core/index.js'
import { Batch, type BatchOptions } from './batch.js'

/** The batches of one stack that are filling: one for each group of calls that may be merged. */
export class Batches {
  readonly #options: BatchOptions
  readonly #filling = new TransientMap<Batch>()

  constructor(options: BatchOptions) {
    this.#options = options
  }

  /** Runs the call: in a batch when it can be merged with others, else as it is. */
  run(request: unknown, context: Context): MaybePromise<unknown> {
    const split = splitOf(request, context)
    if (split === undefined || split.size === 0 || split.size >= this.#options.maxItems)
      return this.#options.next(request, context)
    const batch = this.#batchFor(groupOf(split, context), split.size, context)
    return batch.join(request, split.size, context)
  }

  #batchFor(group: string, size: number, context: Context): Batch {
    let batch = this.#filling.get(group)
    // More than once only when the base, which sending runs, asks this stack for more.
    while (batch !== undefined && !batch.hasRoomFor(size)) {
      batch.send()
      batch = this.#filling.get(group)
    }
    return batch ?? new Batch(this.#options, this.#filling, group, context.detach())
  }
}

type Split = NonNullable<ReturnType<Context['base']['split']>>

function groupOf({ group }: Split, { tenant, cache }: Context): string {
  return `${cache} ${tenant === undefined ? '' : JSON.stringify(tenant)} ${group}`
}

/**
 * How many inputs the base counts in the request; undefined when it throws, when the answer makes
 * no sense, or when the request asks for a stream.
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
