/** A value that is not there; `undefined` may be a value. */
const NONE: unique symbol = Symbol('none')

const JSON_BRAND: unique symbol = Symbol.for('blossom-stack.json') as never

/**
 * JSON that stays text until somebody asks for the value. What came as text can go out as text,
 * wait as text, and give everybody an object of their own.
 */
export class Json {
  #text: string | undefined
  #value: unknown
  #isTaken = false

  /** @param value what the text has been parsed to already, if it has been */
  constructor(text: string | undefined, value: unknown = NONE) {
    this.#text = text
    this.#value = value
  }

  /**
   * The JSON of a value that did not come as text. The text is written when it is first asked for,
   * so whoever shares it asks before the value is handed out.
   */
  static of(value: unknown): Json {
    return new Json(undefined, value)
  }

  /** The JSON text. */
  get text(): string {
    this.#text ??= JSON.stringify(this.#value) ?? 'null'
    return this.#text
  }

  /** The value, to look at: parsed once, and the same object for everybody who looks. */
  get value(): unknown {
    if (this.#value === NONE) this.#value = parseJson(this.text)
    return this.#value
  }

  /** The value, to keep and to change: the first caller gets the parsed object, others their own. */
  take(): unknown {
    const value = this.#value
    if (value === NONE || this.#isTaken) return parseJson(this.text)
    if (this.#text === undefined) this.#isTaken = true
    else this.#value = NONE
    return value
  }

  /** Lets the parsed value go: the text is what is kept. */
  drop(): void {
    if (this.#text !== undefined) this.#value = NONE
  }

  /** So that `JSON.stringify` writes what it stands for. */
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

/** Whether a field may be named `__proto__`, written plainly or with escapes. */
const mayHoldProto = (text: string): boolean =>
  text.includes('__proto__') || (text.includes('\\u00') && /\\u00(5f|5F)/.test(text))

/**
 * `JSON.parse` for text from outside: a field named `__proto__` is left out, so that no later merge
 * can meet it.
 */
export function parseJson(text: string): unknown {
  return mayHoldProto(text) ? JSON.parse(text, withoutProto) : JSON.parse(text)
}

const withoutProto = (key: string, value: unknown): unknown =>
  key === '__proto__' ? undefined : value

/**
 * Reads JSON text from outside. A text with a field that `parseJson` leaves out is written again
 * without it, as the text itself may go out again.
 * @throws SyntaxError when it is no JSON
 */
export function readText(text: string): { readonly text: string; readonly value: unknown } {
  if (!mayHoldProto(text)) return { text, value: JSON.parse(text) }
  const value: unknown = JSON.parse(text, withoutProto)
  return { text: JSON.stringify(value), value }
}

/**
 * Reads JSON text from outside, as `readText()` does.
 * @throws SyntaxError when it is no JSON
 */
export function readJson(given: string): Json {
  const { text, value } = readText(given)
  return new Json(text, value)
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
