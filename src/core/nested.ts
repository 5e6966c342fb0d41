import type { CallOptions, Context } from './types.js'

/** The method of a stack or client that returns the function its calls go through. */
export const STACK: unique symbol = Symbol.for('blossom-stack.stack') as never

/** A stack as called by another one: with the context of the outer call in place of options. */
export type NestedStack = (request: unknown, options: CallOptions | Context) => Promise<unknown>

/**
 * Returns a function that returns the stack behind a stack or client, from this copy of the library
 * or another; `undefined` for any other value. The client's stack is read only when that function
 * is called, because layers may still be added until then.
 */
export function stackOf(value: unknown): (() => NestedStack) | undefined {
  const { [STACK]: give } = (value ?? {}) as { [STACK]?: unknown }
  return typeof give === 'function' ? (give as () => NestedStack) : undefined
}
