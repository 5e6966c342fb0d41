/**
 * The kinds of an error, from its own class to the root. Other copies of this library can read them
 * (ESM and CommonJS, two versions).
 */
export const KINDS: unique symbol = Symbol.for('blossom-stack.error-kinds') as never

/** The kinds of an error, from its own class to the root. */
export function kindsOf(error: object): string[] {
  const kinds: string[] = []
  for (
    let proto = Object.getPrototypeOf(error);
    proto && proto !== Error.prototype;
    proto = Object.getPrototypeOf(proto)
  ) {
    const made = proto.constructor as { kind?: string }
    if (Object.hasOwn(made, 'kind') && made.kind) kinds.push(made.kind)
  }
  return kinds
}

/**
 * Whether a value is an instance of a class of this library, from this copy or another. The
 * prototype chain is checked first, which is right for a user's own subclasses. Kinds are compared
 * only for a class that defines its own `kind`.
 */
export function isOfKind(
  value: unknown,
  of: { readonly kind?: string; readonly prototype: object },
): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Object.prototype.isPrototypeOf.call(of.prototype, value)) return true
  if (!Object.hasOwn(of, 'kind')) return false
  const kinds = (value as { [KINDS]?: unknown })[KINDS]
  return Array.isArray(kinds) && kinds.includes(of.kind)
}
