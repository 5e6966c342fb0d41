import { check, defineLayer, type Handler, type Layer, rules } from '../../core/index.js'
import { Batches } from './batches.js'

/** Options of `batcher()`. */
export interface BatcherOptions<Name extends string = 'batcher'> {
  /**
   * Maximum number of inputs per upstream call. @default 32, the maximum of Blossom's embeddings
   */
  maxItems?: number | undefined
  /** How long the first call waits for others. Milliseconds. @default 5 */
  maxDelayMs?: number | undefined
  /** The layer's name and its key in `stats()`. @default 'batcher' */
  name?: Name | undefined
}

/** Counters of `batcher()`. */
export interface BatcherStats {
  /** Upstream calls started. */
  readonly batches: number
  /** Inputs in these calls. */
  readonly items: number
}

/**
 * Merges calls that arrive at about the same time into one upstream call, and splits its answer. A
 * call with more than `maxItems` inputs is divided into several. Works around any function from an
 * array to an array of the same length, and around the client's embeddings; other requests bypass
 * it. If a batch is rejected because of one bad input, only that input's call fails. Calls of
 * different tenants are never merged.
 *
 * @throws TypeError in every call of the batch, when the function's answer is not an array with one
 * item per input
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
      queue: 'every input holds a slot while its batch fills. Move batcher outside.',
      pool: 'every input holds a connection while its batch fills. Move batcher outside.',
    },
    wrap: <Request, Answer>(next: Handler<Request, Answer>): Handler<Request, Answer> => {
      // One per stack, because calls to different bases cannot be merged.
      const batches = new Batches({ name, maxItems, maxDelayMs, next: next as Handler, stats })
      return (request, context) => batches.run(request, context) as Promise<Answer>
    },
    stats: () => ({ ...stats }),
  })
}
