const PROTO = /__proto__|\\u00(5f|5F)/

/** `JSON.parse` for text from outside: a field named `__proto__` is left out, so that no later merge can meet it. */
export function parseJson(text: string): unknown {
  return PROTO.test(text) ? JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value)) : JSON.parse(text)
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
