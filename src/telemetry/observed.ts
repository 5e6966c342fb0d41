import { ConfigError, type EventListener, LAYERS, type LayerEntry, LISTEN } from '../core/index.js'

/** What can be watched: a client, or a stack around a function of yours. */
export interface Observed {
  stats(): object
  describe(): readonly object[]
}

/** What is used of it beside its public methods. */
export interface ObservedInternals {
  [LAYERS](): readonly LayerEntry[]
  [LISTEN](listener: EventListener): () => void
}

/** @throws ConfigError when it is neither a client nor a stack */
export function internalsOf(subject: string, observed: unknown): ObservedInternals {
  const internals = observed as Partial<ObservedInternals> | null | undefined
  if (typeof internals?.[LISTEN] === 'function' && typeof internals[LAYERS] === 'function')
    return internals as ObservedInternals
  throw new ConfigError(
    `${subject}: the first argument must be a client from createBlossom(), or a stack.`,
  )
}
