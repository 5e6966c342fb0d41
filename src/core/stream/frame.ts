import { Json, readText } from '../json.js'

const FRAME: unique symbol = Symbol.for('blossom-stack.frame') as never

/** One event of a stream that arrives as text: JSON, with an optional event name. */
export class Frame extends Json {
  readonly event: string | undefined
  /**
   * Whether the event is not part of the answer, such as a progress report. Only readers of text
   * get it, it is not stored, and its text need not be JSON.
   */
  readonly isAside: boolean

  /** @param value the parsed text, if it has been parsed already */
  constructor(text: string | undefined, value?: unknown, event?: string, isAside = false) {
    super(text, value)
    this.event = event
    this.isAside = isAside
  }

  /**
   * The frame of an event from upstream.
   * @throws SyntaxError when its data is not JSON
   */
  static read(data: string, event?: string): Frame {
    const { text, value } = readText(data)
    return new Frame(text, value, event)
  }

  /** The frame of a value that did not arrive as text. */
  static override of(value: unknown): Frame {
    return new Frame(undefined, value)
  }

  /** The frame of an event that is not part of the answer. */
  static aside(data: string, event: string): Frame {
    return new Frame(data, undefined, event, true)
  }

  get [FRAME](): true {
    return true
  }
}

/** Whether a value is a `Frame`, from this copy of the library or another. */
export const isFrame = (value: unknown): value is Frame =>
  typeof value === 'object' && value !== null && FRAME in value
