import { Json, readText } from '../json.js'

const FRAME: unique symbol = Symbol.for('blossom-stack.frame') as never

/** One event of a stream that comes as text: JSON, and the name of the event if it has one. */
export class Frame extends Json {
  readonly event: string | undefined

  /** @param value what the text has been parsed to already */
  constructor(text: string | undefined, value?: unknown, event?: string) {
    super(text, value)
    this.event = event
  }

  /**
   * The frame of an event from outside.
   * @throws SyntaxError when its data is no JSON
   */
  static read(data: string, event?: string): Frame {
    const { text, value } = readText(data)
    return new Frame(text, value, event)
  }

  /** The frame of a value that did not come as text. */
  static override of(value: unknown): Frame {
    return new Frame(undefined, value)
  }

  get [FRAME](): true {
    return true
  }
}

/** Whether a value is a `Frame`, of this copy of the library or another. */
export const isFrame = (value: unknown): value is Frame =>
  typeof value === 'object' && value !== null && FRAME in value
