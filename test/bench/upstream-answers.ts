/**
 * What the benchmarks' upstream answers, for those who check that a contender has brought the whole
 * of it.
 */
export const ANSWER = 'Hello there, how may I help you today?'
export const PIECE = 'word '
/**
 * Pieces of text in a stream; one chunk with the role comes before them, one with the finish reason
 * after.
 */
export const PIECES = 200

export interface UpstreamOptions {
  /** A body that says `latency=50` is answered after so many milliseconds. */
  readonly latency?: boolean
  /**
   * So many requests at a time, the others in a line; each takes between half and one and a half
   * times `serviceMs`.
   */
  readonly capacity?: { readonly slots: number; readonly serviceMs: number }
  /**
   * Streams: `endless` sends as fast as the reader takes it, `held` stays open after the first
   * piece.
   */
  readonly streams?: 'whole' | 'endless' | 'held'
}

/** What the upstream has seen so far. */
export interface Seen {
  readonly requests: number
  /** Connections open now. */
  readonly open: number
  /** Connections closed so far. */
  readonly closed: number
  /** Bytes that went into sockets, or wait before them. */
  readonly sent: number
  /** When a connection closed last, milliseconds since the epoch. */
  readonly closedAt: number
}
