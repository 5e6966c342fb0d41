/** Whether a field may be named `__proto__`, written plainly or with escapes. */
const mayHoldProto = (text: string): boolean =>
  text.includes('__proto__') || (text.includes('\\u00') && /\\u00(5f|5F)/.test(text))

/**
 * `JSON.parse` for text from outside: a field named `__proto__` is left out, so that no later merge
 * can meet it.
 */
export function parseJson(text: string): unknown {
  return mayHoldProto(text)
    ? JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value))
    : JSON.parse(text)
}

/** The JSON text of a list, from those of its items; what `parseJson` leaves out is not in it. */
export function textOfList(items: readonly string[]): string {
  const text = `[${items.join(',')}]`
  return mayHoldProto(text) ? JSON.stringify(parseJson(text)) : text
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
