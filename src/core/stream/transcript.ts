import { Frame } from './frame.js'

/** Bookkeeping of a frame beside its text. Bytes. */
const FRAME_BYTES = 8

/** What a store outside the process holds of a transcript: plain JSON. */
export interface StoredTranscript {
  readonly text: string
  readonly lengths: readonly number[]
  /** Names of events by the frame's place; frames without a name are left out. */
  readonly events?: Readonly<Record<string, string>>
}

/**
 * A whole stream of frames as one text. Hundreds of frames would be hundreds of objects, which each
 * garbage collection walks through, and most streams that are kept are never asked for again.
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

  /** What `toStored()` gave; undefined for anything else. */
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

  /** New frames at each call: nobody shares one. */
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

  /** Rough size in memory. */
  get bytes(): number {
    return this.#text.length + this.#lengths.length * FRAME_BYTES
  }
}
