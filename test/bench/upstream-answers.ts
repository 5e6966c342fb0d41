/**
 * What the upstream of the benchmarks answers, for those who check that a contender has brought all
 * of it.
 */
export const ANSWER = 'Hello there, how may I help you today?'
export const PIECE = 'word '
/** Pieces of text in a stream. A chunk with the role comes before, one with the reason after. */
export const PIECES = 200

/**
 * What a prompt may ask of the upstream: an answer after `latency=50` milliseconds, a stream that
 * begins after as many, an answer of `characters=8000`, or a `paced` stream.
 */
export interface UpstreamOptions {
  /**
   * So many requests at a time, the others wait; each takes between half and one and a half times
   * `serviceMs`.
   */
  readonly capacity?: { readonly slots: number; readonly serviceMs: number }
  /**
   * Streams: `endless` sends as fast as the reader takes it, `held` stays open after the first
   * piece.
   */
  readonly streams?: 'whole' | 'endless' | 'held'
  /** A `paced` stream sends a piece, in a packet of its own, each so many milliseconds. */
  readonly paceMs?: number
}

/** What the upstream has seen so far. */
export interface Seen {
  readonly requests: number
  /** Connections closed so far. */
  readonly closed: number
  /** Bytes that went into sockets, or wait before them. */
  readonly sent: number
  /** When a connection closed last, milliseconds since the epoch. */
  readonly closedAt: number
}

/** The answer to a prompt that asks for so many characters. */
export const answerOf = (characters: number): string =>
  'Flowers bloom when "days" grow longer.\n'.repeat(Math.ceil(characters / 39)).slice(0, characters)
