import type { Listeners } from '../events/listeners.js'
import type { Cancel } from '../time/cancel.js'
import type { BaseFacts } from '../traits.js'
import type { CacheMode, Context, Transport } from '../types.js'
import type { Running } from './running.js'

/** What all calls of a stack share. */
export interface StackScope {
  readonly base: BaseFacts
  /** Aborted when the stack begins to close. */
  readonly closing: Cancel
  readonly running: Running
  /** Listeners to the stack's events. */
  readonly listeners: Listeners
}

/** What a caller has asked for in addition to the request. */
export interface CallSettings {
  readonly priority: number
  readonly tenant: string | undefined
  readonly cache: CacheMode
  readonly transport: Transport | undefined
  readonly optional: boolean
  readonly via: string
}

/** The settings of a context. */
export function settingsOf(context: Context): CallSettings {
  const { priority, tenant, cache, transport, optional, via } = context
  return { priority, tenant, cache, transport, optional, via }
}

/** One of several tries of a call, with its own notes and attempts. */
export interface Branch {
  readonly meta: Map<string, unknown>
  attempts: number
  readonly outer: Branch | undefined
}
