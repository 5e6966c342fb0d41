import { Frame } from './frame.js'

/** Memory per frame, apart from its text. Bytes. */
const FRAME_BYTES = 8

/** What an external store holds of a transcript, as plain JSON. */
export interface StoredTranscript {
  readonly text: string
  readonly lengths: readonly number[]
  /** Event names by the frame's position. Frames without a name are left out. */
  readonly events?: Readonly<Record<string, string>>
}

/**
 * A whole stream of frames as one string. Hundreds of frames would be hundreds of objects for each
 * garbage collection to visit, although most stored streams are never requested again.
 */
export class Transcript {
  readonly #text: string
  readonly #lengths: Uint32Array
  readonly #events: ReadonlyMap<number, string>

  constructor(text: string, lengths: Uint32Array, events: ReadonlyMap<number, string>) {
    this.#text = text
    this.#lengths = lengths
    this.#events = events
  }

  static of(frames: readonly Frame[]): Transcript {
    const texts: string[] = []
    const lengths = new Uint32Array(frames.length)
    const events = new Map<number, string>()
    for (let i = 0; i < frames.length; i++) {
      const { text, event } = frames[i] as Frame
      texts.push(text)
      lengths[i] = text.length
      if (event !== undefined) events.set(i, event)
    }
    return new Transcript(texts.join(''), lengths, events)
  }

  /** Reads the result of `toStored()`; undefined for anything else. */
  static read(stored: unknown): Transcript | undefined {
    const { text, lengths, events = {} } = (stored ?? {}) as Partial<StoredTranscript>
    if (typeof text !== 'string' || !Array.isArray(lengths)) return undefined
    let length = 0
    for (const one of lengths) {
      if (!Number.isSafeInteger(one) || one < 0) return undefined
      length += one
    }
    if (length !== text.length || typeof events !== 'object' || events === null) return undefined
    const names = new Map(
      Object.entries(events).map(([at, name]) => [Number(at), String(name)] as const),
    )
    return new Transcript(text, Uint32Array.from(lengths), names)
  }

  /** Returns new frames on each call, so that callers share none. */
  frames(): Frame[] {
    const frames: Frame[] = []
    let start = 0
    for (let i = 0; i < this.#lengths.length; i++) {
      const end = start + (this.#lengths[i] as number)
      frames.push(new Frame(this.#text.slice(start, end), undefined, this.#events.get(i)))
      start = end
    }
    return frames
  }

  toStored(): StoredTranscript {
    const { size } = this.#events
    const stored = { text: this.#text, lengths: [...this.#lengths] }
    return size === 0 ? stored : { ...stored, events: Object.fromEntries(this.#events) }
  }

  /** Rough size in memory, in bytes. */
  get bytes(): number {
    return this.#text.length + this.#lengths.length * FRAME_BYTES
  }
}
