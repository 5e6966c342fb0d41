import { Json, readText } from '../json.js'

const FRAME: unique symbol = Symbol.for('blossom-stack.frame') as never

/** One event of a stream that comes as text: JSON, and the name of the event if it has one. */
export class Frame extends Json {
  readonly event: string | undefined
  /**
   * Whether it stands beside the answer, such as a report of progress: only a reader that takes
   * text gets it, and it is not stored. Its text may be no JSON.
   */
  readonly isAside: boolean

  /** @param value what the text has been parsed to already */
  constructor(text: string | undefined, value?: unknown, event?: string, isAside = false) {
    super(text, value)
    this.event = event
    this.isAside = isAside
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

  /** The frame of an event that stands beside the answer. */
  static aside(data: string, event: string): Frame {
    return new Frame(data, undefined, event, true)
  }

  get [FRAME](): true {
    return true
  }
}

/** Whether a value is a `Frame`, of this copy of the library or another. */
export const isFrame = (value: unknown): value is Frame =>
  typeof value === 'object' && value !== null && FRAME in value
