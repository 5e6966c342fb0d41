import type { CallOptions, Context } from './types.js'

/** Where a stack, and the client, have the function that their calls go through. */
export const STACK: unique symbol = Symbol.for('blossom-stack.stack') as never

/** A stack as another one calls it: the context of the call takes the place of its options. */
export type NestedStack = (request: unknown, options: CallOptions | Context) => Promise<unknown>

/**
 * What gives the stack of a stack or a client, of this copy of the library or another; `undefined`
 * when the value is neither. Nothing is asked of a client before that is called, as layers may
 * still be added to it.
 */
export function stackOf(value: unknown): (() => NestedStack) | undefined {
  const { [STACK]: give } = (value ?? {}) as { [STACK]?: unknown }
  return typeof give === 'function' ? (give as () => NestedStack) : undefined
}
