/** Marks an absent value, because `undefined` may be a value. */
const NONE: unique symbol = Symbol('none')

const JSON_BRAND: unique symbol = Symbol.for('blossom-stack.json') as never

/**
 * JSON text that is parsed only when somebody reads its value. JSON that arrived as text can be
 * stored and sent as text, and every caller can get its own object.
 */
export class Json {
  #text: string | undefined
  #value: unknown
  #isTaken = false

  /** @param value the parsed text, if it has been parsed already */
  constructor(text: string | undefined, value: unknown = NONE) {
    this.#text = text
    this.#value = value
  }

  /**
   * The JSON of a value that did not arrive as text. The text is created on first access. Code that
   * shares it must therefore read the text before handing out the value.
   */
  static of(value: unknown): Json {
    return new Json(undefined, value)
  }

  /** The JSON text. */
  get text(): string {
    this.#text ??= JSON.stringify(this.#value) ?? 'null'
    return this.#text
  }

  /** The value, for reading only: parsed once, the same object for everybody. */
  get value(): unknown {
    if (this.#value === NONE) this.#value = parseJson(this.text)
    return this.#value
  }

  /**
   * The value, to keep and change: the first caller gets the parsed object, later callers a new
   * one.
   */
  take(): unknown {
    const value = this.#value
    if (value === NONE || this.#isTaken) return parseJson(this.text)
    if (this.#text === undefined) this.#isTaken = true
    else this.#value = NONE
    return value
  }

  /** Drops the parsed value and keeps the text. */
  drop(): void {
    if (this.#text !== undefined) this.#value = NONE
  }

  /** Lets `JSON.stringify()` write the value. */
  toJSON(): unknown {
    return this.value
  }

  get [JSON_BRAND](): true {
    return true
  }
}

/** Whether a value is a `Json`, of this copy of the library or another (ESM and CommonJS). */
export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && JSON_BRAND in value
}

/** Whether the text may contain a field named `__proto__`, plain or escaped. */
const mayHoldProto = (text: string): boolean =>
  text.includes('__proto__') || (text.includes('\\u00') && /\\u00(5f|5F)/.test(text))

/**
 * `JSON.parse()` for untrusted text. Drops fields named `__proto__`, so that no later merge can use
 * them.
 */
export function parseJson(text: string): unknown {
  return mayHoldProto(text) ? JSON.parse(text, withoutProto) : JSON.parse(text)
}

const withoutProto = (key: string, value: unknown): unknown =>
  key === '__proto__' ? undefined : value

/**
 * Reads untrusted JSON text. If `parseJson()` would drop a field, the text is written anew without
 * that field, because the text itself may be sent on.
 * @throws SyntaxError when it is not JSON
 */
export function readText(text: string): { readonly text: string; readonly value: unknown } {
  if (!mayHoldProto(text)) return { text, value: JSON.parse(text) }
  const value: unknown = JSON.parse(text, withoutProto)
  return { text: JSON.stringify(value), value }
}

/**
 * Reads untrusted JSON text, as `readText()` does.
 * @throws SyntaxError when it is not JSON
 */
export function readJson(given: string): Json {
  const { text, value } = readText(given)
  return new Json(text, value)
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
