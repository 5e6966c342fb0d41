import type { CallOptions } from '../../src/core/index.js'
import type { CacheNote } from '../../src/layers/cache/index.js'

/** A base that numbers its answers. */
export const counting = () => {
  const counted = Object.assign(async (_request?: unknown) => ({ n: ++counted.calls }), {
    calls: 0,
  })
  return counted
}

/** The cache's note on a call. */
export async function noteOf(
  ask: (request: string, options: CallOptions) => Promise<unknown>,
  request: string,
  options: CallOptions = {},
): Promise<CacheNote | undefined> {
  const meta = new Map<string, unknown>()
  await ask(request, { ...options, meta })
  return meta.get('cache') as CacheNote | undefined
}
