import { check, defineLayer, type Handler, type Layer, rules } from '../../core/index.js'
import { Batches } from './batches.js'

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

/**
 * Merges calls that arrive at about the same time into one, and splits its answer in order. A call
 * with more than `maxItems` inputs is sent as several, and answered as one. Works around any function
 * from an array to an array of the same length, and around the client's embeddings; other requests
 * bypass it. If a batch is refused because of one bad input, only that input fails. Calls of
 * different tenants are never merged.
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
    wrap: <Request, Answer>(next: Handler<Request, Answer>): Handler<Request, Answer> => {
      // Of each stack its own: calls to different bases have nothing in common.
      const batches = new Batches({ name, maxItems, maxDelayMs, next: next as Handler, stats })
      return (request, context) => batches.run(request, context) as Promise<Answer>
    },
    stats: () => ({ ...stats }),
  })
}
