import { ConfigError } from './core/index.js'
import { breaker } from './layers/breaker/index.js'
import { cache } from './layers/cache/index.js'
import { dedupe } from './layers/dedupe/index.js'
import { pool } from './layers/pool/index.js'
import { queue } from './layers/queue/index.js'
import { retry } from './layers/retry/index.js'
import { timeout } from './layers/timeout.js'

const MINUTE = 60_000

/**
 * Images take longer: the official JavaScript SDK waits 300 s for text and 600 s for images
 * (2026-11).
 */
const isImage = (request: unknown): boolean =>
  /^\/(image|v1\/images)\//.test((request as { path?: unknown } | null)?.path as string)

/**
 * The layers in the recommended order with their defaults: cache, dedupe, timeout (the call),
 * retry, breaker, queue, timeout (named `attempt`), pool. A call may take 300 s and an attempt 120
 * s (images 600 and 300), a stream 15 minutes with 60 s to its first token and 60 s of silence.
 *
 * @throws ConfigError when it is given anything: it has no options
 * @example createBlossom({ apiKey }).use(...standard())
 */
export function standard(...nothing: readonly never[]) {
  if (nothing.length > 0)
    throw new ConfigError(
      'standard: it takes no options; to change a value list the layers yourself, as in the README.',
    )
  return [
    cache(),
    dedupe(),
    timeout({ ms: (request) => (isImage(request) ? 10 : 5) * MINUTE, streamMs: 15 * MINUTE }),
    retry(),
    breaker(),
    queue(),
    timeout({
      name: 'attempt',
      ms: (request) => (isImage(request) ? 5 : 2) * MINUTE,
      streamMs: 15 * MINUTE,
      firstTokenMs: MINUTE,
      idleMs: MINUTE,
    }),
    pool(),
  ] as const
}
