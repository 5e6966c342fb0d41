import { ConfigError, type EventListener, LAYERS, type LayerEntry, LISTEN } from '../core/index.js'

/** A client or a stack, whose calls can be observed. */
export interface Observed {
  stats(): object
  describe(): readonly object[]
}

/** The internal methods that are used. */
export interface ObservedInternals {
  [LAYERS](): readonly LayerEntry[]
  [LISTEN](listener: EventListener): () => void
}

/** @throws ConfigError if the value is neither a client nor a stack */
export function internalsOf(subject: string, observed: unknown): ObservedInternals {
  const internals = observed as Partial<ObservedInternals> | null | undefined
  if (typeof internals?.[LISTEN] === 'function' && typeof internals[LAYERS] === 'function')
    return internals as ObservedInternals
  throw new ConfigError(
    `${subject}: the first argument must be a client from createBlossom(), or a stack.`,
  )
}
